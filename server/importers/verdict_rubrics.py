"""The rubrics that public files of verdicts are read under, as files: their words are mapped by aliases, once."""

from __future__ import annotations

from typing import Final

TAU2: Final = """---
name: tau2_success
version: "1"
kind: pass_fail
target: session
labels: [fail, pass]
passing: [pass]
anchors:
  pass: the simulation's checks of database and communication passed
  fail: one of them failed
aliases:
  satisfied: pass
  satisfactory: pass
  compliant: pass
  correct: pass
  failure: fail
  unsatisfied: fail
  unsatisfactory: fail
---
Did the agent do what the customer's task asks for, within the policy? The judges of these verdicts were asked this in
words of their own; the truth is the benchmark's own check of the final state.
"""

LLMBAR: Final = """---
name: llmbar
version: "1"
kind: pairwise
target: example
labels: ["1", "2"]
passing: ["1"]
---
Which of the two outputs follows the instruction better?
"""

PANDALM: Final = """---
name: pandalm
version: "1"
kind: pairwise
target: example
labels: ["1", "2", "0"]
passing: ["1"]
anchors:
  "0": the two responses are equally good
aliases:
  tie: "0"
---
Which of the two responses answers the instruction better?
"""
