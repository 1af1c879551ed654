"""Answers as a model honestly writes them: (name, markdown).

Our rendering of each must equal JupyterLab's, except for the few in `DIFFERENT`.
"""

# ruff: noqa: E501 — an answer is easier to read as it was written

from __future__ import annotations

_CODE = {
    "fence of python": """
Here is the function:

```python
def mean(values: list[float]) -> float:
    "The arithmetic mean."
    return sum(values) / len(values)  # fails on []


print(f"{mean([1, 2]):.2f}")
```

It raises `ZeroDivisionError` for an empty list.
""",
    "fence of html": """
```html
<!DOCTYPE html>
<div class="card" onclick="alert('hi')">
  <script>console.log("a < b && c > d");</script>
  <p>Fish &amp; chips &lt; 5&nbsp;€</p>
</div>
```
""",
    "fences of several languages": """
```javascript
const f = (x) => `${x} < ${x + 1}`;
```

```sql
SELECT name, COUNT(*) FROM users WHERE age >= 18 GROUP BY name;
```

```bash
curl -s https://example.com/api | jq '.items[] | .name' > out.txt 2>&1
```

```rust
fn main() { let v: Vec<&str> = vec!["a"]; println!("{:?}", v); }
```

```json
{"a": [1, 2.5, null, true], "b": "<tag>"}
```
""",
    "fences of further languages": """
```cpp
template <typename T> T max(T a, T b) { return a < b ? b : a; }
```

```r
df <- data.frame(x = 1:3, y = c("a", "b", "c"))
```

```julia
f(x) = x^2 + 2x
```

```yaml
on: {push: {branches: [main]}}
```

```diff
- old
+ new
```

```latex
\\frac{a}{b} % $not maths$
```
""",
    "fence with no language": "```\nplain < text & more\n  indented\n```",
    "fence of an unknown language": '```gleam\npub fn main() { io.println("<hi>") }\n```',
    "fence with options": '```python title="a.py" {1,3}\nx = 1\n```',
    "fence of tildes around a fence": "Write this:\n\n~~~markdown\n```python\nx = 1\n```\n~~~",
    "fence of four around a fence": "````markdown\n# Title\n\n```js\nlet a;\n```\n````",
    "fence right after text": "Run this:\n```bash\npip install -U pandas\n```\nThen restart.",
    "fence that is empty": "```python\n```\n\nNothing in it.",
    "fence with blank lines": "```python\n\nx = 1\n\n\n\ny = 2\n\n```",
    "fence with tabs and trailing blanks": "```make\nall:\n\tcc -o a a.c   \n\t\techo done\n```",
    "fence not closed yet": "The start of it:\n\n```python\nfor i in range(3):\n    print(i)",
    "fence with dollars": "```bash\necho $HOME $PATH\nexport A=$(pwd)$B\n```\n\nThat sets `$A`.",
    "fence with maths in it": "```tex\n$$ \\int_0^1 x\\,dx $$\n\\begin{align} a &= b \\end{align}\n```",
    "doctest": ">>> is Python's prompt:\n\n```pycon\n>>> 1 < 2\nTrue\n>>> print('a')\na\n```",
    "traceback": """
```
Traceback (most recent call last):
  File "<stdin>", line 1, in <module>
KeyError: '<unknown>'
```
""",
    "indented code": "Like so:\n\n    if a < b:\n        return '<b>'\n\n    # still code\n\nDone.",
    "inline code with html": "Use `<div>` or `<br/>`, not `&nbsp;`, and `a && b`.",
    "inline code with backticks": "A backtick: `` ` ``, two: ``` `` ```, and `` `x` ``.",
    "inline code with pipes and stars": "`a | b`, `**kwargs`, `__init__`, `*args` and `~/.bashrc`",
    "inline code with blanks": "`  two  ` and ` one ` and `over\ntwo lines`",
    "code in emphasis": "**`bold code`**, *`code`* and ~~`gone()`~~, [`link`](https://example.com).",
    "code in a heading": "## The `groupby` method\n\n### `df.loc[...]` vs. `df.iloc[...]`",
    "generics in text code": "`Vec<T>`, `Map<String, List<Integer>>`, `std::vector<int>&`",
    "names with underscores": "The snake_case_name and __dunder__ and file_name_v2.py, 2*3*4, a * b * c.",
}

_MATHS = {
    "inline dollars": r"Euler: $e^{i\pi} + 1 = 0$, and so $\sin^2 x + \cos^2 x = 1$.",
    "less than in maths": r"If $a<b$ and $b<c$ then $a < c$; so $x<y>z$, and $0 \le i < n$.",
    "display on lines of its own": r"""
The sum is

$$
\sum_{i=1}^{n} i = \frac{n(n+1)}{2}
$$

for all $n \ge 1$.
""",
    "display in one line": "We get\n\n$$\\int_0^\\infty e^{-x^2}\\,dx = \\frac{\\sqrt{\\pi}}{2}$$\n\nas was to be shown.",
    "display within a paragraph": "So we have\n$$a^2 + b^2 = c^2$$\nand are done. Also $$x = y$$ within a line.",
    "display with an environment": r"""
$$
\begin{aligned}
f(x) &= (x+1)^2 \\
     &= x^2 + 2x + 1
\end{aligned}
$$
""",
    "bare align": r"""
\begin{align}
a &= b + c \\
d &< e
\end{align}

where $c$ is small.
""",
    "bare starred environments": r"""
\begin{align*}
x &= 1 \\
y &= 2
\end{align*}

\begin{equation*}
E = mc^2
\end{equation*}

\begin{gather*}
p \\
q
\end{gather*}
""",
    "bare matrix and cases": r"""
\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}

\begin{cases}
x & y \\
z & 0
\end{cases}
""",
    "blanks within dollars": r"Here $ x = 1 $ and $ \alpha_i $; so $ n^2 $.",
    "matrix": r"""
$$A = \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}, \quad \det A = -2$$
""",
    "cases": r"""
$$|x| = \begin{cases} x & \text{if } x \ge 0 \\ -x & \text{if } x < 0 \end{cases}$$
""",
    "underscores and stars in maths": r"$x_1 + x_2$ and $y_1 * y_2 * y_3$, $a_{i_j}$, $\mathbf{w}^*$ and $\mathbf{v}^*$",
    "braces in maths": r"The set $\{x \in \mathbb{R} \mid x > 0\}$ and $\left\{ \frac{a}{b} \right\}$.",
    "maths in a list": r"""
1. $\alpha$: the rate
2. $\beta_1$: the slope

   $$
   y = \beta_0 + \beta_1 x
   $$

3. $\epsilon \sim \mathcal{N}(0, \sigma^2)$
""",
    "display in a tight list": "- first\n  $$\n  a < b\n  $$\n- second $$c$$",
    "maths in a table": r"""
| Name | Formula | Range |
|------|:-------:|------:|
| Logistic | $\sigma(x) = \frac{1}{1+e^{-x}}$ | $(0, 1)$ |
| ReLU | $\max(0, x)$ | $[0, \infty)$ |
""",
    "bars of maths in a table": r"""
| Norm | Formula |
|------|---------|
| $|x|$ | $P(A|B) = p(a | b)$ |
| $\|x\|_2$ | $\left|\frac{a}{b}\right|$ |
""",
    "maths in a heading": "## The case $n = 2$\n\n### $\\nabla \\cdot \\mathbf{E} = \\rho$ explained",
    "maths in emphasis": r"**The answer is $x = 4$**, and *not $x = 5$*.",
    "maths with text": r"$$\text{F1} = 2 \cdot \frac{\text{precision} \cdot \text{recall}}{\text{precision} + \text{recall}}$$",
    "maths beside punctuation": r"($x$), “$y$”, $z$; $n$-th, $k$th: $m$. $n$'s",
    "one price": "It costs $20 a month.",
    "percent and hash in maths": r"$50\%$ of $\#S$ & more",
    "chained accents": r"$\hat{y}_i$, $\bar{x}$, $\tilde{\theta}$, $\vec{v}$, $\dot{x}$, $x'$ and $f''(x)$",
    "big operators": r"$$\lim_{h \to 0} \frac{f(x+h) - f(x)}{h} \qquad \prod_{k=1}^{n} k \qquad \iint_D f\,dA$$",
    "maths beside code": "Where `x = $y` fails, $y$ is a variable: `$y` again.",
    "backslashes in a path": r"Look in C:\Users\me\data and \\server\share.",
}

_TABLES = {
    "plain table": "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |",
    "alignment": "| left | centre | right | none |\n|:-----|:------:|------:|------|\n| 1 | 2 | 3 | 4 |",
    "no outer pipes": "a | b\n--|--\n1 | 2",
    "code in cells": "| call | gives |\n|------|-------|\n| `a < b` | **bool** |\n| `df['x']` | *Series* |",
    "pipes in cells": "| or | code |\n|----|------|\n| a \\| b | `x \\| y` |",
    "empty and missing cells": "| a | b | c |\n|---|---|---|\n| 1 |  | 3 |\n| 1 |\n| 1 | 2 | 3 | 4 |",
    "table after text": "The results:\n| k | v |\n|---|---|\n| x | 1 |\n\nThat is all.",
    "links and breaks in cells": "| site | note |\n|------|------|\n| [a](https://example.com) | ~~old~~ ✅ |",
    "table in a list": "1. First:\n\n   | a | b |\n   |---|---|\n   | 1 | 2 |\n\n2. Second",
    "table of code with bars": "| `a\\|b` | x |\n|---|---|\n| `\\|\\|` | \\\\ |",
    "table of one column in a quotation": "> | a |\n> |---|\n> | 1 |\n> text of a row\n\n# After",
    "not a table": "a | b is bitwise or\n\n| just a line |",
}

_LISTS = {
    "tight": "- one\n- two\n- three",
    "loose": "- one\n\n- two\n\n- three",
    "partly loose": "- one\n- two\n\n  More of two.\n\n- three",
    "ordered with a start": "Continue:\n\n3. three\n4. four\n5. five",
    "ordered by brackets": "1) one\n2) two",
    "ordered, interrupted by code": "1. Install:\n\n```bash\npip install x\n```\n\n2. Run:\n\n```bash\nx\n```",
    "ordered with code inside": "1. Install:\n\n   ```bash\n   pip install x\n   ```\n\n2. Run it:\n   ```python\n   import x\n\n   x.run()\n   ```\n   Then wait.",
    "nested by two": "- a\n  - b\n    - c\n      - d\n        - e\n- f",
    "nested by four": "* a\n    * b\n        * c\n* d",
    "nested by three under numbers": "1. a\n   - b\n   - c\n2. d\n   1. e\n   2. f",
    "nested by two under numbers": "1. a\n  - b\n2. c\n  - d",
    "bullets with bold leads": "- **Speed**: it is *fast*.\n- **Size**: 3 MB — small.\n- **Price**: free!",
    "two lists of different bullets": "- a\n- b\n\n* c\n* d\n\n+ e",
    "paragraphs in items": "1. First.\n\n   Second paragraph.\n\n   > A quotation.\n\n2. Next.",
    "lazy lines": "- a line that\ngoes on here\n- and\n  here",
    "text right before": "We need:\n- eggs\n- milk\n1. wash\n2. cook",
    "headings in items": "- ## Title\n  text\n- other",
    "empty items": "- a\n-\n- c",
    "year at the start of a line": "It was in\n1986. A great year.\n\n1986\\. A great year.",
    "mixed loose": "1. a\n2. b\n\n   More.\n3. c\n   - d\n\n   - e",
    "paragraph that is not indented enough": "1. a\n\n  two blanks\n\n2. b",
    "code in a deep item": "- a\n  - b\n\n    ```python\n    def f():\n\n        return 1\n    ```\n\n  - c",
    "list, then a rule": "- a\n- b\n---\n- c\n\n0. zero\n1. one",
    "letters and bullets of its own": "a. one\nb. two\n\n(1) x\n\n• bullet\n• bullet",
    "tree of files": "```\n├── src\n│   └── a.py\n└── README.md\n```\n\nsrc/\n├── a.py\n└── b.py",
    "tasks": "- [ ] write tests\n- [x] run them\n  - [ ] nested `code`\n\n1. [x] numbered",
    "indented code in an item": "- run\n\n      x < 1\n\n- done",
}

_TEXT = {
    "headings": "# One\n## Two\n### Three\n#### Four\n##### Five\n###### Six\n####### not seven\n#hashtag\n\nUnder\n=====\n\nAnd\n---\n\n# Closed #",
    "hard breaks": "one  \ntwo\\\nthree\nfour",
    "strikethrough": "~~gone~~ and ~~two words~~ but ~5 minutes, about ~10.",
    "emphasis": "*a* _b_ **c** __d__ ***e*** **f *g* h** in*side*word in_side_word ** not **",
    "rules": "a\n\n---\n\nb\n\n***\n\nc\n\n_ _ _",
    "quotation": "> first line\n> second line\nlazy third\n>\n> > nested\n>\n> - a list\n> - in it\n>\n> ```python\n> x = 1\n> ```",
    "quotation in a list": "- a\n\n  > quoted\n  > lines\n\n- b\n  > right after",
    "admonition": "> [!NOTE]\n> This is a note.\n\n> **Warning:** hot.",
    "entities": "&lt;div&gt; &amp; &copy; &nbsp;&mdash; &#65; &#x42; &hellip; &unknown; AT&T &amp;lt;",
    "escapes": "\\*not emphasis\\* \\_no\\_ \\`no code\\` \\# \\[no link\\](x) \\\\ \\| \\~ 1\\. \\&lt; \\a",
    "comparison signs": "a < b, a<5, x <- 3, 3 > 2, a <= b >= c, <3, -> and => and <-",
    "quotes and dashes": "\"straight\" 'single' “curly” -- --- ... … – — (c) (tm)",
    "emoji": "Done ✅ 🎉 👩‍💻 👍🏽 🇮🇱 :smile: 1️⃣ **🚀 Fast** ❤️",
    "links": '[a](https://example.com/a_b_c?x=1&y=2#frag) [b](http://example.com "title") [c](mailto:a@example.com) [d](<https://example.com/x y>) [e](https://en.wikipedia.org/wiki/Set_(mathematics))',
    "reference links": 'See [the docs][docs], [Docs][] and [docs].\n\n[docs]: https://docs.python.org/3/ "Python"',
    "angle autolinks": "<https://example.com/?a=1&b=2> and <user@example.com>",
    "bare addresses": "See https://docs.python.org/3/library/re.html, or (http://example.com/a_b_c?q=1&r=2).",
    "bare addresses of many shapes": "Open http://localhost:8888/lab?token=abc or http://127.0.0.1:8000/users/{id}, then https://example.com/~me/x_(y).html#a-b! **https://example.com** *https://example.com/x* text(https://example.com/y)text `https://example.com/z`",
    "bare addresses in places": "- https://example.com/a\n- **https://example.com/b**\n\n| url |\n|---|\n| https://example.com/c |\n\n`https://example.com/d` [https://example.com/e](https://example.com/f)",
    "link with emphasis": "[**bold** and *soft* and `code`](https://example.com)",
    "link text with brackets": "[a [b] c](https://example.com) and [x] and [y](no closing",
    "address with unicode": "[münchen](https://example.com/münchen/日本) and [q](https://example.com/?q=ü%20a)",
    "hebrew": "שלום עולם! זה *מודגש* וגם `print(x)` בקוד.\n\n- פריט **ראשון**\n- פריט שני",
    "arabic": "مرحبا **بالعالم**: استخدم `pip install` ثم 123.\n\n> اقتباس\n\n1. أولا\n2. ثانيا",
    "arabic table": "| الاسم | القيمة |\n|---|---:|\n| طول | 5 |",
    "hebrew with maths": "אם $a<b$ אז\n\n$$a^2 < b^2$$",
    "chinese and japanese emphasis": "这是**重要的**内容。使用 **`pip`** 安装，这是*强调*。\n\nこれは**重要**です。~~取消~~した。",
    "long word": "A long one: " + "supercalifragilistic" * 30 + " and `" + "abc/" * 100 + "`",
    "blank lines": "\n\n\nfirst\n\n\n\n\nsecond\n   \n\nthird\n\n\n",
    "trailing and leading blanks": "   three before  \n a\t tab\u00a0nbsp   ",
    "line ends of windows": "one\r\n\r\n- a\r\n- b\r\n\r\n```python\r\nx = 1\r\n```\r\n",
    "a whole answer": r"""
## Why the mean is off

Your column has **3 missing values** (`NaN`), so:

1. `df["x"].mean()` skips them
2. `np.mean(df["x"].values)` does not

```python
df["x"].isna().sum()  # 3
```

| how | result |
|:----|-------:|
| pandas | 2.5 |
| numpy | `nan` |

> **Tip**: use `np.nanmean`.

The mean is $\bar{x} = \frac{1}{n}\sum_{i=1}^n x_i$ with $n<10$. 🎉

---

*Anything else?*
""",
}

_DIFFERENT = {
    "html in a line": "Press <kbd>Ctrl</kbd>+<kbd>C</kbd>, H<sub>2</sub>O, a<br>b, and <T> is a type.\n\n| a |\n|---|\n| one<br>two |",
    "html in a block": "<details>\n<summary>More</summary>\n\nHidden *text*.\n\n</details>\n\n<!-- a remark -->\n\nAfter.",
    "footnotes": "A claim.[^1] Another.[^note]\n\n[^1]: The *first* source.\n[^note]: The second.",
    "round brackets": r"Let \(a<b\) and **\(x_1\)**."
    + "\n\n- \\(\\alpha\\)\n\n| \\(k\\) |\n|---|\n| \\(n\\) |\n\n# On \\(y\\)",
    "square brackets": "We get\n\n\\[\nx = 1\n\\]\n\n> \\[ y < 2 \\]\n\n1. So:\n   \\[\n   z = 3\n   \\]",
    "display in a quotation": "> Note that $p < 0.05$ here:\n>\n> $$\n> p = 0.03\n> $$\n>\n> so it holds.",
    "prices": "It costs $5 a day or $100 a month; that is $1,200 a year (not $a<b$).",
    "escaped prices": r"It costs \$5 and \$10, and $x = \$3$.",
    "diagram": "```mermaid\ngraph TD; A-->B;\n```",
    "image and relative link": "![A chart](http://127.0.0.1:9/chart.png) from [the notebook](analysis.ipynb).",
    "mail and www": "Write to someone@example.com about lodash@4.17.21, or see www.example.com.",
    "bold with no space after": "**注意：**这里没有空格。**「引用」**を使う。**굵은 글씨(bold)**입니다.",
}

# Visible text where our rendering differs from JupyterLab's on purpose.
DIFFERENT = {
    # JupyterLab renders a model's HTML, which could do anything; ours shows it as text.
    "html in a line": "Press <kbd>Ctrl</kbd>+<kbd>C</kbd>, H<sub>2</sub>O, a<br>b, and <T> is a type. a one<br>two",
    "html in a block": "<details> <summary>More</summary> Hidden text. </details> <!-- a remark --> After.",
    # JupyterLab does not know footnotes and shows their marks.
    "footnotes": "A claim.[1] Another.[2] The first source. The second.",
    # JupyterLab takes these for escaped brackets, but most models write maths in this way.
    "round brackets": "Let a<b and x1. α k n On y",
    "square brackets": "We get x=1 y<2 So: z=3",
    # JupyterLab finds maths before quotations, and typesets their marks as well.
    "display in a quotation": "Note that p<0.05 here: p=0.03 so it holds.",
    # JupyterLab takes the text between two prices for maths, escaped or not.
    "prices": "It costs $5 a day or $100 a month; that is $1,200 a year (not a<b).",
    "escaped prices": "It costs $5 and $10, and x=$3.",
    # JupyterLab draws it as an SVG that contains code; an answer shows what the model wrote.
    "diagram": "graph TD; A-->B;",
    # Loading an image tells its server that it was viewed, and can send it a secret. A relative link would
    # become an address of JupyterLab's own server, with the user's token in it.
    "image and relative link": "[image: A chart] (127.0.0.1:9/chart.png) from [the notebook](analysis.ipynb).",
    # JupyterLab takes a version for a mail address. Only a text with https:// is certainly an address.
    "mail and www": "Write to someone@example.com about lodash@4.17.21, or see www.example.com.",
    # CommonMark, and so JupyterLab, does not end bold after a punctuation mark before a letter.
    "bold with no space after": "注意：这里没有空格。「引用」を使う。굵은 글씨(bold)입니다.",
}


def corpus() -> list[tuple[str, str]]:
    """Return all answers."""
    groups = (_CODE, _MATHS, _TABLES, _LISTS, _TEXT, _DIFFERENT)
    return [(name, text) for group in groups for name, text in group.items()]
