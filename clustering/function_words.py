"""Words that carry grammar and no subject, in the twelve languages with spaces that sessions are likeliest to be in.

Most such words need no list: they are as frequent in the other clusters and fall out by their log-odds. A language that
only one cluster speaks is the exception, for there they are as particular as its subject. Chinese and Japanese grammar
is left out by script instead (clustering/words.py).
"""

from __future__ import annotations

from typing import Final

_BY_LANGUAGE: Final[dict[str, str]] = {
    "en": "a about after again all also am an and any are aren't as at be because been before being but by can can't"
    " cannot could couldn't did didn't do does doesn't doing don't down for from get getting got had has hasn't"
    " have haven't having he her here hers him his how i if in into is isn't it its itself just let ll me more"
    " most my myself of off on once only or other our out over own please re same she should shouldn't so some"
    " such than that that's the their them then there there's these they this those through to too under up us use"
    " using ve very want was wasn't we were what what's when where which while who why will with won't would"
    " wouldn't you your yours",
    "de": "aber alle als also am an auch auf aus bei bin bis bitte da damit dann das dass dein dem den der des die dies"
    " diese diesem diesen dieser dieses doch du durch ein eine einem einen einer eines er es euch für gegen habe"
    " haben hat hatte hier ich ihm ihn ihr ihre ihnen im in ist ja jetzt kann kannst können könnte man mehr mein"
    " meine meinem meinen meiner mich mir mit muss nach noch nun nur ob oder ohne schon sehr sein seine sich sie"
    " sind so über um und uns unser vom von vor war warum was weil wenn wer werden wie wieder will wir wird wo"
    " wurde zu zum zur",
    "fr": "ai ainsi alors au aussi autre aux avec avez avoir bien car ce cela ces cet cette comme comment dans de des"
    " donc du elle elles en encore est et était être eu fait faire il ils je la le les leur lui ma mais me mes moi"
    " mon notre nous on ont ou où par peut peux plus pour pourquoi pouvez puis quand que quel quelle qui quoi sa"
    " sans se ses si son sont suis sur ta te tes toi ton tout toute tous très tu un une vos votre vous",
    "es": "al algo aquí así aún bien como cómo con cuál cuando cuándo de del desde donde dónde el él ella ellos en"
    " entre era es esa ese eso está están estaba estar este esta esto estos estoy fue ha hace hacer han has hasta"
    " hay he la las le les lo los más me mi mis mucho muy nos o otra otro para pero por porque puede puedo pueden"
    " que qué quiero se ser si sí sido sin sobre son soy su sus también te tengo tiene todo todos tu un una uno"
    " usted y ya yo",
    "pt": "à ainda ao aos as às até bem com como da das de dela dele depois do dos e é ela ele eles em então era essa"
    " esse esta está estão este estou eu foi há isso isto já lhe mais mas me mesmo meu minha meus minhas muito na"
    " nas no nos o os ou para pela pelo por porque posso pode podem qual quando que quem quero se ser seu sua são"
    " sem só também tem tenho ter todo tudo um uma você vocês",
    "it": "agli ai al alla alle anche ancora avere che chi ci come con cosa così cui da dal dalla dei del della delle"
    " di dove e è ed era essere fa fare fatto gli ha hai hanno ho i il in io la le lei lo loro lui ma me mi mia"
    " mie miei mio molto nei nel nella noi o per perché più posso può puoi quale quando quella quello questa"
    " questo qui se sei si sia solo sono su sua sul suo ti tra tutto un una uno vi voi vorrei",
    "nl": "aan al alle als bij ben dan dat de deze die dit doen door dus een en er ge graag haar had heb hebben heeft"
    " hem het hier hij hoe hun ik in is ja je jij jou jouw kan kunnen kun maar me meer met mij mijn moet na naar"
    " nog nu of om omdat onder ons ook op over te tegen toch toen tot u uit uw van veel voor waar waarom was wat"
    " we wel werd wie wij wil worden wordt zal ze zich zijn zo zou",
    "pl": "a aby albo ale bardzo bez bo być by był była było chcę ci co czy dla do go i ich ile im ja jak jaki jako je"
    " jego jej jest jestem jeszcze już każdy kiedy kto która które który ma mam mi mnie mogę może moja moje mój"
    " można mu my na nam nas nich o od on ona one oraz po pod przez przy są się ta tak także tam te tego tej ten"
    " to tu tylko tym u w we więc wszystko z za ze żeby",
    "ru": "а без бы был была были было быть в вам вас вы где да для до его ее её если есть еще ещё же за и из или им их"
    " к как какой когда кто ли меня мне могу может мой моя мои моё мы на над надо нам нас него нее но о об он она"
    " они от очень по под пожалуйста почему при с со так такой там то тоже только ты у уже хочу чем что чтобы эта"
    " эти это этот я",
    "tr": "acaba ama ancak bana bazı ben bende beni benim bir biz bu bunu bunun çok da daha de değil diye en gibi hem"
    " her hiç için ile ise istiyorum kadar ki kim lütfen mı mi mu mü nasıl ne neden nerede olan olarak oldu o on"
    " ona onu sana sen siz sonra şey şu tüm var ve veya ya yani",
    "ar": "أن إن أنا أنت أو إلى التي الذي الى اليوم او ان انا أي بعد بين بها به تم ثم حتى حول ذلك على علي عليه عن عند"
    " عندي في فيه فيها قبل قد كان كانت كل كم كيف لأن لدي لك لكن له لها لي لماذا ما ماذا متى مع من منذ منه منها نحن"
    " هذا هذه هل هنا هو هي و وأنا يا يكون يمكن يمكنني",
    "hi": "अब अपना अपनी अपने आप इस इसका इसकी इसके इसे उन उस उसका उसकी उसके उसे एक और कर करना करने कहाँ का कि किया की"
    " कुछ कृपया के को कोई कौन क्या क्यों कैसे गई गए गया चाहता चाहती जब जा जो तक तो था थी थे दिया दो द्वारा पर फिर"
    " बहुत भी मुझे में मेरा मेरी मेरे मैं मैंने यह यहाँ या ये रहा रही रहे लिए वह वे सकता सकते से हम हमारा ही हुआ"
    " हुई हूँ हूं है हैं हो होता",
}
_NEGATIONS: Final = (
    "not no never can't cannot won't don't doesn't didn't isn't wasn't nicht kein keine keinen nie pas jamais aucun no"
    " nunca não non mai niet geen nie nie nigdy не нет ни değil yok hayır لا لم لن ليس غير नहीं न मत"
)

FUNCTION_WORDS: Final = frozenset(word for said in _BY_LANGUAGE.values() for word in said.split())
PARTICLES: Final = frozenset({"up", "down", "out", "off", "back"})  # that make another verb: top up, log out
NEGATIONS: Final = frozenset(_NEGATIONS.split())  # say nothing alone and much before another word
