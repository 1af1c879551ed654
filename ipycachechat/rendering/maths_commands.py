"""TeX commands that MathJax may be given."""

from __future__ import annotations

import re
from functools import cache

from ipycachechat.rendering.maths import MAX_DEPTH, MAX_LENGTH


def is_typesettable(maths: str) -> bool:
    """Return True if MathJax can only typeset it, in any front end.

    This is an allow-list, since MathJax and its extensions have many commands that do more: links and
    ids (`\\href`, `\\cssId`, `\\ref`), style (`\\style`, `\\class`, `\\bbox`), code from the network
    (`\\require`), any attribute (`\\mmlToken`, `\\enclose`), any character (`\\unicode`), definitions
    that stay for all later cells (`\\def`, `\\newcommand`), and sizes and shifts that draw outside
    of their box (`\\raise`, `\\llap`, `\\smash`, `\\rule`, `\\Huge`, a negative `\\hspace`).
    """
    if len(maths) > MAX_LENGTH or _depth(maths) > MAX_DEPTH or len(_BACKWARD.findall(maths)) > 12:
        return False
    return all(_is_allowed(maths, command) for command in re.finditer(r"\\([A-Za-z]+|.)", maths, re.DOTALL))


def _is_allowed(maths: str, command: re.Match[str]) -> bool:
    name, after = command[1], command.end()
    if name in _ARGUMENTS:
        return re.compile(_ARGUMENTS[name]).match(maths, after) is not None
    # Front ends read an optional argument of these as attributes or as a distance.
    if name in _NO_OPTION:
        return not maths[after:].lstrip().startswith("[")
    return not name.isascii() or not name.isalpha() or name in _commands()


def _depth(maths: str) -> int:
    depth = deepest = 0
    for brace in re.findall(r"[{}]|\\left\b|\\right\b|\\begin\b|\\end\b", maths):
        depth += 1 if brace in ("{", "\\left", "\\begin") else -1
        deepest = max(deepest, depth)
    return deepest


_WIDTH = r"\s*\{?\s*\d{0,2}(\.\d+)?\s*(em|ex|pt|mm|cm|px|mu|in|pc)\b"
_COLOR = r"\s*\{\s*(#[0-9A-Fa-f]{3,8}|[A-Za-z]{1,20})\s*\}"
_BACKWARD = re.compile(r"\\!|\\neg(?:thin|med|thick)space")
_NO_OPTION = frozenset(("cancel", "bcancel", "xcancel", "cancelto", "cfrac"))
# Commands whose argument must match.
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
    """Return the commands of TeX and AMS-LaTeX for symbols, letters, accents and arrangements."""
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
