"""Text as an attacker would put it into a trace."""

from __future__ import annotations

from typing import Final

BEACON_HOST: Final = "beacon.invalid"
MARKUP: Final = (
    "<script>window.assayPwned = 1</script>"
    f'<img src="http://{BEACON_HOST}/i.png" onerror="window.assayPwned = 2">'
    f"![m](http://{BEACON_HOST}/m.png)"
    "[go](javascript:window.assayPwned=3)"
    f'<svg onload="window.assayPwned=4"><image href="http://{BEACON_HOST}/s.svg"/></svg>'
    " **loud** `tick` $\\LaTeX$ :red[alarm] :material/delete: :smile: ~~gone~~ # head"
)
OVERRIDE: Final = "invoice\u202egpj.exe\u202c"
ISOLATE: Final = "\u2066hidden\u2067order\u2069"
ANSI: Final = "\x1b[31mred\x1b[0m"
FORMULA: Final = '=HYPERLINK("http://beacon.invalid","click")'
EVERYTHING: Final = f"{MARKUP} {OVERRIDE} {ISOLATE} {ANSI}"
