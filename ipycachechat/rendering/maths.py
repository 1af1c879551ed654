"""Where maths is in an answer, and which of it a front end may typeset.

Two syntax rules for markdown-it, for all the ways in which models write maths: `$…$`, `$$…$$`, `\\(…\\)`,
`\\[…\\]` and a bare `\\begin{align}…\\end{align}`. Their tokens are `maths_inline` and `maths_block`; the
content holds the delimiters.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline

# A piece any longer is not maths; it bounds how far an opener that nothing closes is looked after.
LONGEST = 5_000
# Deeper braces could overflow the stack of the front end's own parser.
DEEPEST = 40

_BLOCK_END = {"$$": "$$", "\\[": "\\]"}
_ENVIRONMENT = re.compile(
    r"\\begin\{((?:equation|align|alignat|gather|multline|flalign|eqnarray)\*?"
    r"|[bpvBV]?matrix|cases|array|aligned|gathered|split)\}"
)
# "$ x = 1 $" is maths, "$ ls and $ pwd" two commands: there has to be a sign of maths, and no bare word.
_SIGN = re.compile(r"[\\^=]")
_WORD = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{3,}")
# A row of a table, in whatever list or quotation.
_ROW = re.compile(r"^[ \t>*+\d.)-]*\|.*[$\\].*$", re.MULTILINE)
# Code, and what could be maths. The bounds keep many openers that nothing closes from taking long.
_IN_ROW = re.compile(
    r"(?<!`)(`+)(?!`).{0,200}?(?<!`)\1(?!`)|\$\$[^$]+\$\$|\\\(.{1,200}?\\\)|\\[^(]|\$(?:\\.|[^$\\])+\$"
)
_BRACKETED = re.compile(r"\([^()]*\)|\{[^{}]*\}|\[[^\[\]]*\]")
# Stands for such a bar while tables are cut into cells; Unicode keeps it from ever being a character of a text.
_PIPE = "\ufdd0"
# "$5 and 10$" is money: a number, then words, which in maths would be in \text{}.
_MONEY = re.compile(r"[\d.,]+[kKMB]?[\"'”)]*\s+\(?[^\W\d_]{2,}")


def maths_plugin(md: MarkdownIt) -> None:
    """Teach this parser what maths is."""
    md.inline.ruler.before("escape", "maths_inline", _inline)
    md.core.ruler.before("block", "maths_pipes", _hide_pipes)
    md.core.ruler.after("block", "maths_pipes_back", _show_pipes)
    stops = ["paragraph", "reference", "blockquote", "list", "footnote_def"]
    md.block.ruler.before("fence", "maths_block", _block, {"alt": stops})


def _hide_pipes(state: StateCore) -> None:
    """In `| $|x|$ |` only the outer bars are the table's."""
    state.env["pipes"] = _PIPE not in state.src
    if state.env["pipes"]:
        state.src = _ROW.sub(lambda row: _IN_ROW.sub(_hidden, row[0]), state.src)


def _hidden(piece: re.Match[str]) -> str:
    """Code as it is, and maths without the bars that are its own."""
    maths = piece[0]
    if "|" not in maths or maths.startswith("`"):
        return maths
    single = maths.startswith("$") and not maths.startswith("$$")
    if single and _closed_dollar(piece.string, piece.start(), piece.end()) != piece.end():
        return maths
    # "| $HOME | US$ |" are two cells. Maths has its bars within brackets, or in pairs with no gap on either side.
    outside = _BRACKETED.sub("", maths)
    if outside.count("|") % 2 or re.search(r"\s\|\s", outside):
        return maths
    return maths.replace("|", _PIPE)


def _show_pipes(state: StateCore) -> None:
    if state.env.pop("pipes"):
        for token in state.tokens:
            token.content = token.content.replace(_PIPE, "|")


def _inline(state: StateInline, silent: bool) -> bool:
    src, start = state.src, state.pos
    if src.startswith("$$", start):
        end = _closed(src, start + 2, "$$", state.posMax)
    elif src[start] == "$":
        end = _closed_dollar(src, start, state.posMax)
    elif src.startswith("\\(", start):
        end = _closed(src, start + 2, "\\)", state.posMax)
    elif src.startswith("\\[", start):
        # `\[` is also how an honest bracket is escaped ("array\[0\]"): maths has a space or stands alone.
        alone = start == 0 or src[start - 1] == "\n" or src[start + 2 : start + 3].isspace()
        end = _closed(src, start + 2, "\\]", state.posMax) if alone else 0
        end = 0 if src[end : end + 1] == "(" else end
    else:
        return False
    if not end:
        return False
    if not silent:
        state.push("maths_inline", "", 0).content = src[start:end]
    state.pos = end
    return True


def _closed(src: str, start: int, closer: str, limit: int) -> int:
    """The end of the maths whose inside begins at `start`, or 0."""
    end = src.find(closer, start, min(limit, start + LONGEST))
    return end + len(closer) if end >= 0 and src[start:end].strip() else 0


def _closed_dollar(src: str, start: int, limit: int) -> int:
    """The end of `$…$`, or 0: like pandoc's rule, so that prices stay text."""
    limit = min(limit, start + LONGEST)
    spaced = src[start + 1 : start + 2] == " "
    if src[start - 1 : start].isdigit() or (src[start + 1 : start + 2].isspace() and not spaced):
        return 0
    end = src.find("$", start + 1, limit)
    while end > 0 and src[end - 1] == "\\":
        end = src.find("$", end + 1, limit)
    if end < start + 2 or src[end - 1].isspace() != spaced or src[end + 1 : end + 2].isdigit():
        return 0
    inside = src[start + 1 : end]
    if spaced and (_WORD.search(inside) or not _SIGN.search(inside)):
        return 0
    return 0 if _MONEY.match(src, start + 1, end) else end + 1


def _block(state: StateBlock, first: int, stop: int, silent: bool) -> bool:
    src = state.src
    start = state.bMarks[first] + state.tShift[first]
    opener = src[start : start + 2]
    if opener == "\\b" and (environment := _ENVIRONMENT.match(src, start)):
        inside, closer = environment.end(), f"\\end{{{environment[1]}}}"
    elif opener in _BLOCK_END:
        inside, closer = start + 2, _BLOCK_END[opener]
    else:
        return False
    if state.is_code_block(first):
        return False
    end = _closed(src, inside, closer, state.eMarks[stop - 1])
    if not end:
        return False
    last = bisect_left(state.eMarks, end, first, stop)
    if src[end : state.eMarks[last]].strip() or last >= stop:
        return False
    # A closer in another list item or outside of the quotation closes nothing.
    if any(
        state.sCount[line] < state.blkIndent and not state.isEmpty(line) for line in range(first, last + 1)
    ):
        return False
    if silent:
        return True
    if last == first:
        content = src[start:end]
    else:
        head, tail = src[start : state.eMarks[first]], src[state.bMarks[last] : end]
        middle = (src[state.bMarks[line] : state.eMarks[line]] for line in range(first + 1, last))
        content = "\n".join((head, *middle, tail))
    token = state.push("maths_block", "", 0)
    token.block = True
    token.content = content
    token.map = [first, last + 1]
    state.line = last + 1
    return True


def undelimited(maths: str) -> tuple[str, bool]:
    """What is between the delimiters (a bare environment has none), and whether it is display maths."""
    if maths.startswith(("$$", "\\[")):
        return maths[2:-2], True
    if maths.startswith("\\("):
        return maths[2:-2], False
    return (maths, True) if maths.startswith("\\begin") else (maths[1:-1], False)


def typesettable(maths: str) -> bool:
    """Whether nothing but typesetting can come of it, in any front end's MathJax.

    An allow rule, since MathJax and its extensions hold many commands that reach further: links and
    ids (`\\href`, `\\cssId`, `\\ref`), style (`\\style`, `\\class`, `\\bbox`), code from the network
    (`\\require`), any attribute (`\\mmlToken`, `\\enclose`), any character (`\\unicode`), definitions
    that last for all later cells (`\\def`, `\\newcommand`), and sizes and shifts that draw outside
    of their place (`\\raise`, `\\llap`, `\\smash`, `\\rule`, `\\Huge`, a negative `\\hspace`).
    """
    if len(maths) > LONGEST or _deepest(maths) > DEEPEST or len(_BACKWARD.findall(maths)) > 12:
        return False
    return all(_allowed(maths, command) for command in re.finditer(r"\\([A-Za-z]+|.)", maths, re.DOTALL))


def _allowed(maths: str, command: re.Match[str]) -> bool:
    name, after = command[1], command.end()
    if name in _ARGUMENTS:
        return re.compile(_ARGUMENTS[name]).match(maths, after) is not None
    # Front ends take an optional argument of these for attributes, or for a distance.
    if name in _NO_OPTION:
        return not maths[after:].lstrip().startswith("[")
    return not name.isascii() or not name.isalpha() or name in _commands()


def _deepest(maths: str) -> int:
    depth = deepest = 0
    for brace in re.findall(r"[{}]|\\left\b|\\right\b|\\begin\b|\\end\b", maths):
        depth += 1 if brace in ("{", "\\left", "\\begin") else -1
        deepest = max(deepest, depth)
    return deepest


_WIDTH = r"\s*\{?\s*\d{0,2}(\.\d+)?\s*(em|ex|pt|mm|cm|px|mu|in|pc)\b"
_COLOR = r"\s*\{\s*(#[0-9A-Fa-f]{3,8}|[A-Za-z]{1,20})\s*\}"
_BACKWARD = re.compile(r"\\!|\\neg(?:thin|med|thick)space")
_NO_OPTION = frozenset(("cancel", "bcancel", "xcancel", "cancelto", "cfrac"))
# Commands whose argument has to look like this.
_ARGUMENTS = {
    "\\": r"(?!\s*\*?\s*\[)|\s*\*?\s*\[\s*\d{0,2}(\.\d+)?\s*(em|ex|pt|mm|cm|px|mu|in|pc)\s*\]",
    "hspace": _WIDTH,
    "mspace": _WIDTH,
    "hskip": _WIDTH,
    "mskip": _WIDTH,
    "kern": _WIDTH,
    "mkern": _WIDTH,
    "color": _COLOR,
    "textcolor": _COLOR,
    "colorbox": _COLOR,
    "tag": r"\*?\s*\{[^{}\\$]{0,20}\}",
    "begin": (environment := r"\s*\{\s*(" + "|".join(
        "equation align alignat gather multline flalign eqnarray split aligned alignedat gathered array "
        "subarray matrix smallmatrix pmatrix bmatrix Bmatrix vmatrix Vmatrix cases dcases rcases CD".split()
    ) + r")\*?\s*\}"),
    "end": environment,
}  # fmt: skip


@cache
def _commands() -> frozenset[str]:
    """Commands of TeX and AMS-LaTeX that put symbols, letters, accents and arrangements, and nothing else."""
    return frozenset(_SYMBOLS.split())


_SYMBOLS = """
Aboxed acute aleph alpha amalg And angle approx approxeq arccos arcsin arctan arg Arrowvert arrowvert ast
asymp atop backepsilon backprime backsim backsimeq backslash bar barwedge Bbb Bbbk because beta beth between
bf Big big bigcap bigcirc bigcup Bigg bigg Biggl biggl Biggm biggm Biggr biggr Bigl bigl Bigm bigm bigodot
bigoplus bigotimes Bigr bigr bigsqcup bigstar bigtimes bigtriangledown bigtriangleup biguplus bigvee
bigwedge binom blacklozenge blacksquare blacktriangle blacktriangledown blacktriangleleft blacktriangleright
bmod boldsymbol bot bowtie Box boxdot boxed boxminus boxplus boxtimes Bra bra brace bracevert brack Braket
braket breve bullet Bumpeq bumpeq cal Cap cap cdot cdotp cdots ce centercolon centerdot centernot check
checkmark chi choose circ circeq circlearrowleft circlearrowright circledast circledcirc circleddash
circledR circledS clubsuit colon Colonapprox colonapprox Coloneq coloneq Coloneqq coloneqq Colonsim colonsim
complement cong coprod cos cosh cot coth cramped csc Cup cup curlyeqprec curlyeqsucc curlyvee curlywedge
curvearrowleft curvearrowright dagger daleth dashleftarrow dashrightarrow dashv dbinom dblcolon ddagger
ddddot dddot ddot ddots deg degree Delta delta det dfrac diagdown diagup Diamond diamond diamondsuit digamma
dim displaystyle div divideontimes dot Doteq doteq doteqdot dotplus dots dotsb dotsc dotsi dotsm dotso
doublebarwedge doublecap doublecup Downarrow downarrow downdownarrows downharpoonleft downharpoonright ell
emptyset enspace epsilon eqcirc Eqcolon eqcolon Eqqcolon eqqcolon eqsim eqslantgtr eqslantless equiv eta eth
exists exp fallingdotseq fbox Finv flat forall frac frak frown Game Gamma gamma gcd ge geq geqq geqslant
gets gg ggg gggtr gimel gnapprox gneq gneqq gnsim grave gt gtrapprox gtrdot gtreqless gtreqqless gtrless
gtrsim gvertneqq hat hbar hbox hdashline heartsuit hfill hline hom hookleftarrow hookrightarrow hphantom
hslash idotsint iff iiiint iiint iint Im imath impliedby implies in inf infty injlim int intercal intop iota
it jmath Join kappa ker Ket ket Ketbra ketbra Lambda lambda land langle lbrace lbrack lceil ldotp
ldots le leadsto left Leftarrow leftarrow leftarrowtail leftharpoondown leftharpoonup leftleftarrows
Leftrightarrow leftrightarrow leftrightarrows leftrightharpoons leftrightsquigarrow leftthreetimes leq leqq
leqslant lessapprox lessdot lesseqgtr lesseqqgtr lessgtr lesssim lfloor lg lgroup lhd lim liminf limits
limsup ll llcorner Lleftarrow lll llless lmoustache ln lnapprox lneq lneqq lnot lnsim log Longleftarrow
longleftarrow Longleftrightarrow longleftrightarrow longleftrightarrows longLeftrightharpoons longmapsto
Longrightarrow longrightarrow longRightleftharpoons longrightleftharpoons looparrowleft looparrowright lor
lozenge lparen lrcorner Lsh lt ltimes lVert lvert lvertneqq maltese mapsto mathbb mathbf mathbfcal
mathbffrak mathbfit mathbfscr mathbfsf mathbfsfit mathbfsfup mathbfup mathbin mathcal mathchoice mathclose
mathfrak mathinner mathit mathnormal mathop mathopen mathord mathpunct mathrel mathring mathrm mathscr
mathsf mathsfit mathsfup mathstrut mathtt mathup max mbox measuredangle mho mid middle min mit mod models mp
mu multimap nabla natural ncong ndownarrow ne nearrow neg negmedspace negthickspace negthinspace neq newline
nexists ngeq ngeqq ngeqslant ngtr ni nLeftarrow nleftarrow nLeftrightarrow nleftrightarrow nleq nleqq
nleqslant nless nmid nobreakspace nolimits nonumber normalsize not notag notin nparallel nprec npreceq
nRightarrow nrightarrow nshortmid nshortparallel nsim nsubseteq nsubseteqq nsucc nsucceq nsupseteq
nsupseteqq ntriangleleft ntrianglelefteq ntriangleright ntrianglerighteq nu nuparrow nVDash nVdash nvDash
nvdash nwarrow odot ohm oint Omega omega omicron ominus operatorname oplus ordinarycolon oslash otimes over
overbrace overleftarrow overleftrightarrow overline overparen overrightarrow overset overunderset owns
parallel partial perp phantom Phi phi Pi pi pitchfork pm pmod pod Pr prec precapprox preccurlyeq preceq
precnapprox precneqq precnsim precsim prime prod projlim propto Psi psi pu qquad quad rangle rbrace rbrack
rceil Re restriction rfloor rgroup rhd rho right Rightarrow rightarrow rightarrowtail rightharpoondown
rightharpoonup rightleftarrows rightleftharpoons rightrightarrows rightsquigarrow rightthreetimes
risingdotseq rm rmoustache root rparen Rrightarrow Rsh rtimes rVert rvert S scr scriptscriptstyle scriptsize
scriptstyle searrow sec Set set setminus sf sharp shortmid shortparallel sideset Sigma sigma sim simeq sin
sinh small smallfrown smallint smallsetminus smallsmile smile space spadesuit sphericalangle sqcap sqcup
sqrt sqsubset sqsubseteq sqsupset sqsupseteq square stackbin stackrel star strut Subset subset subseteq
subseteqq subsetneq subsetneqq substack succ succapprox succcurlyeq succeq succnapprox succneqq succnsim
succsim sum sup Supset supset supseteq supseteqq supsetneq supsetneqq surd swarrow symbb symbf symbfcal
symbffrak symbfit symbfscr symbfsf symbfsfit symbfsfup symbfup symcal symfrak symit symnormal symrm symscr
symsf symsfit symsfup symtt symup tan tanh tau tbinom text textbf textit textnormal textrm textsf textstyle
texttt textup tfrac therefore Theta theta thickapprox thicksim thinspace tilde times tiny to top triangle
triangledown triangleleft trianglelefteq triangleq triangleright trianglerighteq tt twoheadleftarrow
twoheadrightarrow ulcorner underbrace underleftarrow underleftrightarrow underline underparen
underrightarrow underset unlhd unrhd Uparrow uparrow Updownarrow updownarrow upharpoonleft upharpoonright
uplus Upsilon upsilon upuparrows urcorner varDelta varepsilon varGamma varinjlim varkappa varLambda
varliminf varlimsup varnothing varOmega varPhi varphi varPi varpi varprojlim varpropto varPsi varrho
varSigma varsigma varsubsetneq varsubsetneqq varsupsetneq varsupsetneqq varTheta vartheta vartriangle
vartriangleleft vartriangleright varUpsilon varXi vcenter Vdash vDash vdash vdots vec vee veebar Vert vert
vphantom Vvdash wedge widehat widetilde wp wr xhookleftarrow xhookrightarrow Xi xi xLeftarrow xleftarrow
xleftharpoondown xleftharpoonup xLeftrightarrow xleftrightarrow xLeftrightharpoons xleftrightharpoons
xlongequal xmapsto xmathstrut xRightarrow xrightarrow xrightharpoondown xrightharpoonup xRightleftharpoons
xrightleftharpoons xtofrom xtwoheadleftarrow xtwoheadrightarrow yen zeta
"""
