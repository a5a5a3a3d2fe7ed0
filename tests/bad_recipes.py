"""Bad recipes: each ends in 2, before a backend is imported, with all faults at once."""

from __future__ import annotations

from functools import partial

from bad_inputs import BACKBONE, FILES, GOOD, RECIPE, Bad, both, good_but

Case = partial(Bad, code=RECIPE)
RATE = "training.optimizer.learning_rate"
PLACE = r"{}/own\.yaml:"

RECIPES = [
    Case(row="missing file", told=(r"no such file.*did you mean {}/own\.yaml",), calls=(("check", "{}/onw.yaml"),)),
    Case(row="missing file", told=(r"did you mean imdb_bert\?",), calls=(("run", "imdb_brt"), ("check", "imdb_brt"))),
    Case(
        row="a folder", told=(r"{}  got a folder, expected a recipe file, as one of own\.yaml",), calls=(("run", "{}"),)
    ),
    Case(row="a binary file", recipe=b"\x80\x04\x95\0\0", told=(r"{}/own\.yaml  got a binary file",)),
    Case(row="an empty file", recipe="", told=(r"{}/own\.yaml  got an empty file",)),
    Case(
        row="YAML syntax",
        recipe=good_but("{max_length: 32}", "{max_length: 32"),
        told=(PLACE + r"5:1  YAML: ", r"\n    model:\n    \^"),
    ),
    Case(row="tab indent", recipe=good_but("  files", "\tfiles"), told=(PLACE + "3:1  YAML: got a tab as indent",)),
    Case(
        row="duplicate key",
        recipe=GOOD + "name: other\n",
        told=(PLACE + "11:1  name: got this key a second time", "the first is on line 1"),
    ),
    Case(
        row="unknown key",
        recipe=good_but("batch_size", "batchsize"),
        told=(PLACE + r"7:23  training\.batchsize: got an unknown key", r"did you mean batch_size\?"),
    ),
    Case(
        row="missing key", recipe=good_but("name: own\n", ""), told=(PLACE + "1:1  name: got nothing, expected a name",)
    ),
    Case(
        row="missing key",
        recipe=good_but(", vocabulary: nano_uncased", ""),
        told=(PLACE + r"6:3  model\.backbone\.preset: got no preset and no vocabulary",),
    ),
    *(
        Case(
            row="no whole number",
            recipe=good_but("batch_size: 4", f"batch_size: {value}"),
            told=(PLACE + rf"7:35  training\.batch_size: got {value}, expected a whole number",),
        )
        for value in ('"16"', "true")
    ),
    *(
        Case(
            row="rates", told=(rf"--set {RATE}  {RATE}: got {shown}, expected",), calls=both("--set", f"{RATE}={value}")
        )
        for value, shown in {".nan": r"\.nan", ".inf": r"\.inf", "0": "0", "-2.0e-5": "-2e-05"}.items()
    ),
    Case(
        row="anchors", recipe=good_but("batch_size: 4", "batch_size: &n 4"), told=(PLACE + "7:35 .* got the anchor &n",)
    ),
    Case(
        row="tags",
        recipe=good_but("size: 4", "size: !!python/object:os.system 4"),
        told=(PLACE + "7:35 .* got the tag",),
    ),
    Case(row="over 256 KB", recipe=GOOD + "#" * 300_000, told=(r"{}/own\.yaml  got more than 256 KB",)),
    Case(row="deep nesting", recipe=GOOD + "x: " + "[" * 5000, told=(PLACE + "11:35  YAML: nested deeper than 32",)),
    Case(
        row="unknown preset",
        recipe=good_but(BACKBONE, "{family: bert, preset: bert_bas_en}"),
        told=(
            PLACE + r'6:36  model\.backbone\.preset: got "bert_bas_en", expected one of',
            r"did you mean bert_base_en\?",
        ),
    ),
    Case(
        row="unknown optimizer",
        recipe=good_but("size: 4", "size: 4, optimizer: {type: adamx}"),
        told=(PLACE + r'7:56  training\.optimizer\.type: got "adamx", expected one of adamw', "did you mean adam"),
    ),
    Case(
        row="unknown dataset",
        recipe=good_but(FILES, "dataset: imbd"),
        told=(PLACE + r'3:12  data\.dataset: got "imbd", expected one of amazon_reviews', r"did you mean imdb\?"),
    ),
    Case(
        row="epochs and steps",
        recipe=good_but("epochs: 2", "epochs: 2, steps: 9"),
        told=(PLACE + r"7:30  training\.steps: got 9 beside epochs: 2",),
    ),
    Case(
        row="resume and overwrite",
        told=("No such option: --overwrite",),
        calls=(("run", "{}/own.yaml", "--overwrite"),),
    ),
    Case(row="resume of nothing", told=("add --out DIR",), calls=(("run", "{}/own.yaml", "--resume"),)),
    Case(
        row="warm-up longer than training",
        recipe=good_but("epochs: 2", "steps: 10, schedule: {type: linear, warmup: 20}"),
        told=(PLACE + r"7:56  training\.schedule\.warmup: got 20 steps, expected fewer than training\.steps: 10",),
    ),
    Case(
        row="warm-up longer than training",
        recipe=good_but("epochs: 2", "epochs: 2, schedule: {type: linear, warmup: 2000}"),
        told=(r"training\.schedule\.warmup: got 2,000 steps, expected fewer than the run's 16",),
    ),
    Case(
        row="split fractions over 1",
        recipe=good_but(FILES, f"{FILES}\n  validation: {{fraction: 0.6}}\n  test: {{fraction: 0.6}}"),
        told=(PLACE + r"4:26  data\.validation\.fraction: got 1\.2 together with test\.fraction, expected below 1",),
    ),
    Case(
        row="max_length above the positions",
        recipe=good_but("max_length: 32", "max_length: 513"),
        told=(PLACE + r"4:22  tokens\.max_length: got 513, expected at most the backbone's 512",),
    ),
    Case(
        row="max_length above the positions",
        told=(r"--set tokens\.max_length  tokens\.max_length: got 513, expected at most 512, the positions of minilm",),
        calls=tuple((verb, "quickstart", "--set", "tokens.max_length=513") for verb in ("check", "run")),
    ),
    Case(
        row="num_classes against labels",
        recipe=good_but("training: {", "  head: {type: binary}\ntraining: {"),
        rows="review,stars\n" + "".join(f"film {n},{'abc'[n % 3]}\n" for n in range(60)),
        told=(r"model\.head\.type: got binary, expected classifier: the data has 3 classes, not 2 \(a, b, c\)",),
    ),
    Case(
        row="num_classes against labels",
        told=(r"model\.head\.type: .*the data has 5 classes, not 2",),
        calls=tuple((verb, "amazon_bert", "--set", "model.head={type: binary}") for verb in ("check", "run")),
    ),
    Case(
        row="a profile that does not exist",
        told=(PLACE + r'8:1  profile: got "cpuu", expected one of cpu',),
        calls=both("--profile", "cpuu"),
    ),
    Case(
        row="override of an unknown key",
        told=(r"--set trainin\.epochs  trainin: got an unknown key", r"did you mean training\?"),
        calls=both("--set", "trainin.epochs=1"),
    ),
    *(
        Case(
            row="names that are paths", recipe=good_but("name: own", f"name: {name}"), told=(PLACE + "1:7  name: got",)
        )
        for name in ("..", "/etc/own", "a/b", '"a\\0b"')
    ),
    Case(
        row="names that are paths",
        recipe=good_but("rows.csv", '"rows\\0.csv"'),
        told=(PLACE + r"3:18  data\.files\.train: got", "no NUL"),
    ),
    Case(
        row="a secret typed into a recipe",
        recipe=GOOD + "hf_token: s3cr3t-value\n",
        told=(PLACE + "11:1  hf_token: got a key for a secret",),
        untold="s3cr3t",
    ),
    Case(
        row="a secret typed into a recipe",
        recipe=good_but("size: 4", "size: hf_abcdefghijklmnopqrst"),
        told=(PLACE + r"7:35  training\.batch_size: got \(a value that looks like a secret",),
        untold="abcdefghij",
    ),
    Case(
        row="a secret typed into a recipe",
        told=("got a key for a secret",),
        untold="s3cr3t",
        calls=both("--set", "data.password=s3cr3t"),
    ),
    Case(
        row="newer schema version",
        recipe="version: 2\nsomething: new\n" + GOOD,
        told=(PLACE + "1:10  version: got 2, expected 1", "upgrade"),
    ),
    Case(
        row="all faults at once",
        recipe=good_but("{epochs: 2, batch_size: 4}", "{epochs: 0, batch_size: 0}"),
        rows="review,other\na,b\n",
        told=(
            "3 errors:",
            PLACE + r"7:20  training\.epochs",
            PLACE + r"7:35  training\.batch_size",
            "no column 'stars'",
        ),
    ),
]
