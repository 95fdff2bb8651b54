"""The strings of the tokenizer tests: real text, code, every kind of awkwardness, and seeded random Unicode."""
import random

from make_tokenizers import real_texts

SEED = 20261122
AWKWARD = [
    "", "a", " ", "  ", "\n", "\n\n  x", "  two  spaces", "tabs\t\tand\r\nCRLF", "trailing  ", " \n \n", "\r\r\n\n",
    "I'll we've THEY'RE don'T 'tis 'S 's 'ſ 'D'd 'LL'll x'VE", "1234567890 3.14159 1,000,000 12 345 6789",
    "naïve café — “quotes” … ½", "日本語のテキスト、混合 text 中文字符 한국어 문장", "🙂👩‍👩‍👧‍👦 e\u0301 \u00a0nbsp\u3000wide",
    "שלום עולם (RTL) مرحبا بالعالم ١٢٣", "\u202eoverride\u202c \u2066iso\u2069 \u200f", "ÀÉÎ ßẞ ǅ Ⅷ ²³ ٣٤٥ ๑๒ 〇 ㊿",
    "\x00\x01\x7f\x1b[0m", "a\x00b", "\ufeffBOM", "\ufffd\uffff\U0010ffff", "\u180e\u200b\u2028\u2029\u0085x",
    "<|begin_of_text|>x<|eot_id|>\n<|end_of_text|>", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    "<s>a</s> <unk> <0x41> ▁▁a ▁ b▁", "<|im_start|><|im_start|>assistant<|im_sta", "<plain>x <wide>  <wide>y\n <wide> \n",
    "solo asolo solo2 (solo) solo_ ésolo solo\u0301 Ⓐsolo", "<tool_call>{}</tool_call>", "Å-ring A\u030a-ring \u212b-ring",
    "ｆｕｌｌｗｉｄｔｈ　ＡＢＣ１２３", "ﬁﬂﬃ ﬆ 'ﬆ", "e\u0323\u0301 e\u0301\u0323 \u1100\u1161\u11a8 \uac01 \u0344 \u0958 \u2126",
    "def f(x):\n    return x**2  # comment\n\n\n\nclass A:\n\tpass\n", "https://example.com/a?b=c&d=%20#frag",
    "\t\t\tif (a && b) { c->d[0] = *p++; }  // ok\r\n", '{"k": [1, 2.5e-3, null, "\\u00e9"]}', "x" * 300 + " " + "é" * 200,
    "İstanbul ŞĞ ıI Σς", "𐐀𐐨 𞤀𞤢 𝔘𝔫𝔦 𝟘𝟙", "\u0897\u0cf3\U00010d40\U00010d50 \U00031350 \U0001ccf0\U0001cc00 \U00016d40",
]


def runs():
    """Long runs of one thing, and of two things by turns."""
    for unit in (" ", "\n", "\t", "0", "a", "é", "日", "🙂", "▁", " a", "ab", "\r\n", " \n", "'", "=", "-=", "\u0301", "1a", "A"):
        for count in (2, 3, 5, 17, 64, 257, 1500):
            yield unit * count
            yield "x" + unit * count + "y"


def random_texts(rng, count):
    blocks = [(0x20, 0x7E), (0, 0x1F), (0x80, 0x24F), (0x250, 0x36F), (0x370, 0x58F), (0x590, 0x8FF), (0x900, 0xDFF),
              (0xE00, 0x10FF), (0x1100, 0x1FFF), (0x2000, 0x2BFF), (0x3000, 0x9FFF), (0xA000, 0xD7FF),
              (0xF900, 0xFFFF), (0x10000, 0x1FFFF), (0x1F300, 0x1FAFF), (0x20000, 0x323AF), (0, 0x10FFFF)]
    for _ in range(count):
        chosen = rng.sample(blocks, rng.randint(1, 4))
        points = []
        for _ in range(rng.randint(1, 60)):
            low, high = rng.choice(chosen)
            points.append(rng.choice((0x20, 0x20, 0x0A)) if rng.random() < 0.15 else rng.randint(low, high))
        yield "".join(chr(p) for p in points if not 0xD800 <= p < 0xE000)


def real_pieces(rng, count):
    """Lines, paragraphs and odd cuts of real files."""
    texts = real_texts()
    for i in range(count):
        text = rng.choice(texts)
        begin = rng.randrange(len(text)) if len(text) > 1 else 0
        size = (20, 80, 200, 600, 3000)[i % 5]
        yield text[begin:begin + rng.randint(1, size)]


def all_texts():
    """About 11,000 strings, the same on each call on the same machine."""
    rng = random.Random(SEED)
    texts = AWKWARD + list(runs())
    mixed = [a + rng.choice(("", " ", "\n")) + b for a, b in (rng.sample(AWKWARD, 2) for _ in range(1500))]
    return texts + mixed + list(random_texts(rng, 3500)) + list(real_pieces(rng, 6000))
