"""The word tables of understanding: which words mean which act, and what ids, amounts and addresses look like."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class Act(StrEnum):
    """What a message is about. The first ones are said to anybody, the others are a specialist's work."""

    GREET = "greet"
    THANKS = "thanks"
    BYE = "bye"
    INJECTION = "injection"
    PERSON = "person"
    POLICY = "policy"
    STATUS = "status"
    LIST = "list"
    CANCEL = "cancel"
    ORDER_ADDRESS = "order_address"
    REFUND = "refund"
    DISCOUNT = "discount"
    RETURN = "return"
    CANCEL_RETURN = "cancel_return"
    ACCOUNT = "account"
    EMAIL = "email"
    ADDRESS = "address"
    PASSWORD = "password"  # noqa: S105 - the act, not a secret
    CLOSE = "close"
    DIAGNOSE = "diagnose"
    HELP = "help"
    TICKET = "ticket"


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.VERBOSE)


ORDER_ID: Final = re.compile(r"\bLK-?\s?(\d{5,8})(/\d{1,2})?\b", re.IGNORECASE)
RETURN_ID: Final = re.compile(r"\bRT-\d{4,8}\b", re.IGNORECASE)
EMAIL: Final = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|<EMAIL_\d+>")  # or what a gateway has put in its place
SKU: Final = re.compile(r"\b(?:GEAR|SKU|LS)-[A-Z0-9]+\b", re.IGNORECASE)
AMOUNT: Final = re.compile(
    r"(?:\$\s?|USD\s?)(\d{1,6}(?:\.\d{1,2})?)|\b(\d{1,6}(?:\.\d{1,2})?)\s?(?:dollars|usd|bucks)\b", re.I
)
PERCENT: Final = re.compile(r"\b(\d{1,3})\s?(?:%|percent|per cent)", re.IGNORECASE)
_TOWN: Final = r"[A-Z][\w'-]*(?:\s+[A-Z][\w'-]*){0,3}"
STREET: Final = re.compile(
    rf"\b(\d{{1,5}}[A-Za-z]?\s+{_TOWN}(?:,\s*{_TOWN})*)"  # 5 Cedar Court, Bend
    r"|\b(\d{1,5}\s+[a-z]+(?:\s+[a-z]+){0,3},\s*[a-z]+)"  # 5 cedar court, bend
)

YES: Final = _words(
    r"^\W*(?: yes | yeah | yep | yup | ye | sure | ok(?:ay)? | correct | right | exactly | go\ ahead "
    r"| please\ do | do\ it"
    r" | confirm(?:ed)? | i\ confirm | that'?s\ (?:right|correct|fine|it|the\ one) | absolutely | of\ course | fine"
    r" | sounds\ good | si | ja | oui | y | affirmative | agreed | perfect | alright | definitely | great )\b"
)
NO: Final = _words(
    r"^\W*(?: no | nope | nah | don'?t | do\ not | never\ mind | nevermind | forget\ it | wait | stop "
    r"| hold\ on | not\ (?:yet|now|that)"
    r" | rather\ not | leave\ it | n | cancel\ that )\b | \b(?: changed\ my\ mind | (?:do"
    r"|did)n'?t\ want\ (?:that|this)"
    r" | rather\ (?:keep|not) | keep\ (?:it|the\ order|my\ account|them) | on\ second\ thou?ght )\b"
)
GREETING: Final = _words(r"^\W*(?:hi|hello|hey|good\ (?:morning|day|evening|afternoon)|greetings|howdy)\b")
THANKS: Final = _words(
    r"\b(?:thanks|thank\ you|thx|cheers|appreciate|brilliant|great,?\ that|that'?s\ (?:all|everything))\b"
)
GOODBYE: Final = _words(r"\b(?:bye|goodbye|see\ you|have\ a\ (?:nice|good)|that\ (?:is|will\ be)\ all)\b")
INJECTION: Final = _words(
    r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,40}\b(?:instruction|prompt|rule|polic|guideline"
    r"|previous|above|restriction)"
    r" | system\ prompt | developer\ mode | \bjailbreak | you\ are\ now\b | pretend\ (?:to\ be|you)"
    r" | act\ as\ (?:an?\ )?(?:admin|root|developer|unrestricted) | reveal\b.{0,30}\b(?:prompt|instruction"
    r"|password|key|secret)"
    r" | (?:another|other|different)\ (?:customer|user|person)(?:'s|s')? | someone\ else'?s "
    r"| all\ (?:the\ )?(?:customers|users)\b"
    r" | (?:what|show|print|repeat).{0,30}\b(?:your\ instructions|your\ prompt|initial\ prompt)"
    r" | <\s*/?\s*system | \[\s*system | new\ instructions?\s*:"
)
ANGRY: Final = _words(
    r"\b(?:ridiculous|unacceptable|furious|outrageous|outraged|fed\ up|disgust\w*|scam|lawyer|sue|legal\ action"
    r"|livid|incompeten\w*"
    r"|third\ time|fourth\ time|fifth\ time|worst)\b"
)
COMPLEX: Final = _words(
    r"\b(?:insurance\ claim|injur\w+|fire|burn(?:ed|t)\ (?:my|me)|press|journalist|fraud\w*|stolen|hacked|police)\b"
)

# The first pattern that fits names the act. Order matters: the particular before the general.
ACTS: Final[tuple[tuple[Act, re.Pattern[str]], ...]] = (
    (
        Act.PERSON,
        _words(
            r"\b(?:real\ person|a\ human|human\ being|representative|formal\ complaint|file\ a\ complaint)\b"
            r" | (?:speak|talk|connect|transfer|escalate|put|get|want|need)\b.{0,25}\b(?:someone|somebody"
            r"|person|human"
            r"|colleague|staff|manager|supervisor|your\ team)\b"
        ),
    ),
    (
        Act.CLOSE,
        _words(r"\b(?:close|delete|deactivate|terminate|shut\ down|remove|cancel|get\ rid\ of)\b.{0,25}\baccount\b"),
    ),
    (Act.PASSWORD, _words(r"\b(?:password|passwort|locked\ out|log\ ?in|sign\ ?in|reset\ link)\b")),
    (
        Act.EMAIL,
        _words(
            r"\b(?:change|update|correct|replace|switch|set|new|wrong|use|typo|fix)\b.{0,60}\be-?mail "
            r"| \be-?mail\b.{0,60}"
            r"\b(?:change|update|changed|wrong|new|old|typo|correct|replace)\w*\b"
        ),
    ),
    (
        Act.CANCEL_RETURN,
        _words(
            r"\b(?:cancel|withdraw|stop|call\ off|undo|drop)\b.{0,30}\breturn\b | \bRT-\d+ "
            r"| \bkeep\b.{0,40}\binstead\ of\ return"
            r" | (?:don'?t|no\ longer)\ want\ to\ (?:return|send)"
        ),
    ),
    (
        Act.DISCOUNT,
        _words(
            r"\b(?:discount|compensation|compensate|coupon|voucher|goodwill|price\ (?:reduction|adjustment"
            r"|match)|money\ off)\b"
            r" | \d+\s?(?:%|percent) | \bknock\b.{0,20}\boff\b | something\ off"
        ),
    ),
    (
        Act.CANCEL,
        _words(
            r"\b(?:cancel|cancell?ing|cancell?ation|call\ off|abort|revoke)\b | (?:don'?t|no\ longer)\ (?:want"
            r"|need)\b.{0,40}\b(?:order|any\ ?more|delivered)"
            r" | \bstop\b.{0,20}\b(?:order|shipment)"
        ),
    ),
    (
        Act.REFUND,
        _words(r"\b(?:refund\w*|money\ back|reimburs\w+|charge\ ?back|pay\ me\ back|charged\ twice|overcharged)\b"),
    ),
    (Act.RETURN, _words(r"\b(?:return(?:ing|ed)?|send(?:ing)?\b.{0,30}\bback|give\b.{0,20}\bback|take\ back)\b")),
    (
        Act.ORDER_ADDRESS,
        _words(
            r"\b(?:order|parcel|package|delivery|shipment|shipping|LK-?\d+|deliver|ship"
            r"|send)\b.{0,80}\b(?:address|deliver(?:ed)?\ to|go(?:es)?\ to|to\ (?:my|a)\ (?:new|other|work"
            r"|office|parents))"
            r" | \baddress\b.{0,60}\b(?:order|parcel|package|delivery|shipment|LK-?\d+) | \b(?:send|ship"
            r"|deliver|redirect|reroute)\b.{0,60}\bto\ \d+\ "
        ),
    ),
    (
        Act.ADDRESS,
        _words(
            r"\b(?:change|update|new|moved|moving|correct|set|wrong|old)\b.{0,60}\baddress\b "
            r"| \baddress\b.{0,40}\b(?:change|update|changed|new|wrong|old)\w*"
            r" | \bi(?:'ve|\ have)?\ (?:just\ )?moved\b | \b(?:moving|relocat\w+)\b"
        ),
    ),
    (
        Act.TICKET,
        _words(
            r"\b(?:ticket|repair|technician|service\ request|warranty\ claim|claim\ (?:the\ )?warranty"
            r"|look\ at\ it)\b"
        ),
    ),
    (
        Act.DIAGNOSE,
        _words(
            r"\b(?:broken|broke|defect\w*|faulty|malfunction\w*|leak\w*|flicker\w*|overheat\w*|doesn'?t"
            r"|does\ not|won'?t|will\ not|isn'?t|not\ (?:working|charging|turning)"
            r"|stopped|stuck|dead|error|problem\ with|trouble\ with|dripping|tear|torn|jam\w*|dies|drain\w*"
            r"|wrong\ with|beeps?|blink\w*|smells?|weak)\b"
        ),
    ),
    (
        Act.HELP,
        _words(
            r"\bhow\ (?:do|can|should|to|often)\b.{0,80} | \b(?:instructions|manual|set\ ?up|clean|wash"
            r"|waterproof|re-?proof|pitch|store\ my|maintain|care\ for|calibrat\w+|pair)\b"
        ),
    ),
    (
        Act.LIST,
        _words(
            r"\b(?:list|show|see|what)\b.{0,30}\b(?:my|all)\ orders\b | \border\ history\b | \bwhat\ (?:did"
            r"|have)\ i\ order | ^\W*(?:\w+\ ){0,3}my\ orders\W*$"
            r" | \borders\ (?:(?:do|did|have)\ i|i\ (?:have|made|placed))\b"
            r" | \b(?:do\ i\ have|have\ i\ got)\b.{0,12}\borders?\b"
        ),
    ),
    (
        Act.STATUS,
        _words(
            r"\b(?:where|status|track\w*|arriv\w+|when\ will|eta|shipped|dispatch\w*|on\ its\ way|late|delayed"
            r"|delivered|delivery|progress|news|got\ my|received)\b"
            r" | \border\b | \bLK-?\d+ | \bparcel\b | \bpackage\b"
        ),
    ),
    (Act.ACCOUNT, _words(r"\b(?:account|profile|my\ (?:e-?mail|address|details|data))\b | \bon\ file\b")),
)
# A question about the rules is one of these words in a question, and nothing of one's own.
POLICY: Final = _words(
    r"\b(?:polic(?:y|ies)|guarantee\w*|days|deadline|final\ sale|shipping|free|rules?|allowed|possible|offer"
    r"|match|gift\s?cards?|opening\ hours|international\w*|customs|duties|terms|privacy|restocking|costs?|fees?"
    r"|loyalty|points|membership|cover(?:ed|s)?|eligible|conditions|accept|do\ you|are\ you|is\ there|can\ i"
    r"|what\ happens|who\ pays|what\ if|payment\ methods|rent\w*|exchange\w*|quote)\b"
    r" | \b(?:an?|any)\ (?:refund|return|order|item|delivery|discount|account)\b"
)
SURELY_POLICY: Final = _words(
    r"\b(?:polic(?:y|ies)|warranty|how\ long|how\ many|until\ when|from\ which\ amount|privacy|gift\ cards?"
    r"|trail\ points|price\ match)\b"
)
SURELY_OWN: Final = _words(
    r"\bLK-?\d{5,} | \bRT-?\d{5,} | \b(?:GEAR|SKU)-\w+ | \bmy\ (?:\w+\ )?(?:orders?|parcel|package)\b(?!\ data)"
    r" | \borders\ (?:do|did|have)\ i\b | \b(?:do\ i\ have|have\ i\ got)\b.{0,12}\borders?\b"
)
OWN: Final = _words(
    r"\bmy\ (?:last\ |latest\ |new\ )?(?:account|delivery|refund|e-?mail|password|address|return) | \bmine\b"
    r" | \bthis\ order | \bi\ (?:ordered|bought|placed)\b | \bi\ (?:want|need)\b | \bi(?:\ would|'d)\ like\b"
    r" | \b(?:can|could|would)\ you\b"
)
QUESTION: Final = _words(
    r"\?\s*$ | ^\W*(?:what|how|when|do|does|is|are|may|who|which|am\ i|tell\ me|explain)\b"
    r" | \b(?:question|wonder\w*|want\ to\ know|like\ to\ know|curious)\b"
)
PRONOUN: Final = _words(r"\b(?:it|that|this|them|the\ order|same|that\ one|this\ one)\b")
LATEST: Final = _words(r"\b(?:latest|last|newest|most\ recent|recent)\b")
EARLIEST: Final = _words(r"\b(?:oldest|first|earlier|earliest|older)\b")
WHOLE: Final = _words(r"\b(?:whole|entire|everything|all\ of\ it|all\ (?:the\ )?items|complete|full|both)\b")
BECAUSE: Final = _words(r"\b(?:because|since|as\ i|reason(?:\ is|:)?|due\ to)\s+(.{3,120}?)(?:[.!?\n]|$)")
DAMAGED: Final = _words(r"\b(?:damag\w*|broken|broke|crack\w*|torn|smashed|defect\w*|dent\w*|shattered|ripped|bent)\b")
LATE: Final = _words(r"\b(?:late|delay\w*|too\ long)\b")
WRONG_SIZE: Final = _words(r"\b(?:wrong\ size|too\ (?:small|big|large|tight|wide)|doesn'?t\ fit)\b")
CAP: Final = re.compile(r"refund up to (\d+) USD", re.IGNORECASE)
SYMPTOM: Final = _words(
    r"\b(?:flicker\w*|blink\w*|dim\w*|charg\w*|dead|turn\ on|screen|fr[oe]ez\w*|frozen?|stuck|batter\w+"
    r"|drain\w*|empty|strap|buckle|button|spark\w*"
    r"|ignit\w*|light|leak\w*|smell\w*|hiss\w*|slow\w*|flow\w*|clog\w*|crack\w*|tast\w*|zip\w*|pole|broken"
    r"|broke|snap\w*|torn|tear|air|flat"
    r"|won'?t|doesn'?t|does\ not|not\ work\w*|stopp?\w*|faulty|defect\w*|dies|died|nois\w*|loose|overheat\w*)\b"
)
STOP: Final = frozenset(
    re.findall(
        r"\w+",
        """
        a about after am an and any are as at be been but by can cant could do does during for from get give got had has
        have hello help hey hi how i if im in is it its just know like me much my need no not of off on one or other our
        out per please pls so some tell than thank thanks that the them then there these they thing this to too up us
        want was we what when where which who why will with would yes you your
        """,
    )
)
# Words that tell no order or item from another.
EMPTY: Final = STOP | frozenset(
    re.findall(
        r"\w+",
        """
        order orders refund return cancel money back item items larkspur bought buy ordered new old delivery delivered
        arrived damaged late address shipped processing
        """,
    )
)
