"""The page of `gen_jax.demo`: what a run can be asked for, the command with the same bytes, and the page in a browser."""

import io
import os
import shlex
import shutil
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat, wavfile

import gen_jax
from gen_jax import demo, sample
from gen_jax.data.kinds.midi_sound import LONGEST
from gen_jax.errors import UserError
from gen_jax.page.blocks import Shelf, answered, completions, erased, in_one_line, seed_of, whole
from gen_jax.page.controls import (
    ANY,
    Controls,
    Question,
    answer,
    command,
    controls_of,
    drawn_places,
    given_texts,
    moved,
)
from gen_jax.page.tunes import sound_of

pytestmark = pytest.mark.study
gradio = partial(pytest.importorskip, "gradio")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SMALL, WAVES = {"name": "mlp", "hidden": (8,)}, {"name": "wavegan", "channels": (4, 4)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Short runs of a GAN, a VAE, a table, a text, a GAN of images with images as conditions, sounds, and piano rolls."""
    folder = tmp_path_factory.mktemp("runs")
    digits = gen_jax.data.open("digits")
    random = np.random.default_rng(0)
    pairs = random.integers(0, 256, (2, 40, 8, 8, 1), dtype=np.uint8)
    np.savez(folder / "pairs.npz", x=pairs[0], c=pairs[1])
    for side in range(2):
        Image.fromarray(pairs[1][side, ..., 0]).save(folder / f"{side}.png")
    (folder / "text.txt").write_text("the cat sat on the mat. " * 200)
    with zipfile.ZipFile(folder / "sounds.zip", "w") as archive:
        for number in range(12):
            sound = io.BytesIO()
            wavfile.write(sound, 8000, random.integers(-9999, 9999, 600, np.int16))
            archive.writestr(f"{number % 2}_ann_{number}.wav", sound.getvalue())
    pieces = np.empty((1, 6), object)
    for number in range(6):
        pieces[0, number] = (random.random((8, 88)) < 0.05).astype(np.uint8)
    savemat(folder / "rolls.mat", dict.fromkeys(("traindata", "validdata", "testdata"), pieces))
    held, rolls = gen_jax.data.open(folder / "pairs.npz"), gen_jax.data.open(folder / "rolls.mat")
    sounds = gen_jax.data.open(folder / "sounds.zip", encoding="waveform", frames=512)
    iris, text = gen_jax.data.open("iris"), gen_jax.data.open(folder / "text.txt", window=20)
    models = gen_jax.models
    made = {
        "gan": (models.gan(digits.spec, SMALL, SMALL, latent_size=3, conditional=True), digits),
        "vae": (models.vae(digits.spec, latent_size=2), digits),
        "table": (models.mixture(iris.spec, components=2), iris),
        "text": (models.autoregressive(text.spec, net={"name": "gru", "units": 8}), text),
        "paired": (models.gan(held.spec, SMALL, SMALL, latent_size=3, conditional=True), held),
        "sound": (models.gan(sounds.spec, WAVES, WAVES, latent_size=3), sounds),
        "music": (models.autoregressive(rolls.spec, {"name": "gru", "units": 8}, {"name": "bernoulli"}), rolls),
    }
    fit = partial(gen_jax.fit, steps=2, batch_size=16)
    return {name: fit(model, data, workdir=folder / name) for name, (model, data) in made.items()}


def test_a_run_shows_what_it_can_and_nothing_else(runs):
    controls = {name: controls_of(run) for name, run in runs.items()}
    gan, vae, table, text, paired = (controls[name] for name in ("gan", "vae", "table", "text", "paired"))
    assert gan.labels == tuple("0123456789") and (gan.condition, gan.prefix, gan.length) == ("", False, False)
    assert gan.latents and gan.path and gan.completed and gan.cells == gan.queried == ()
    assert vae.labels == () and vae.latents and vae.completed
    assert table.cells[-1] == "species" and table.queried == ("species",) and not table.completed
    assert text.prefix and text.length and "temperature" in text.options and not text.latents
    assert paired.condition == "image" and not paired.latents and not paired.completed
    assert controls["sound"].latents and controls["music"].length and not controls["music"].prefix


QUESTIONS = {
    "gan": Question(num=5, seed=3, label="7"),
    "vae": Question(num=3, seed=1),
    "table": Question(num=4, seed=2, cells={"species": " setosa ", "sepal width (cm)": "3.1", "sepal length (cm)": ""}),
    "text": Question(num=2, seed=5, prefix="the c", length=30, options={"temperature": 0.5}),
    "sound": Question(num=2, seed=4),
    "music": Question(num=2, seed=6, length=5),
}


@pytest.mark.parametrize("name", [*QUESTIONS, "paired", "paired_rows"])
def test_the_command_draws_the_same_bytes(name, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = runs[name.removesuffix("_rows")]
    question = QUESTIONS.get(name, Question(num=2, condition=str(run.workdir.parent / "1.png")))
    if name == "paired_rows":
        question = Question(num=3)
    controls = controls_of(run)
    words = shlex.split(command(run, controls, question))
    assert words[:3] == ["python", "-m", "gen_jax.sample"]
    sample.main(words[2:])
    drawn = answer(run, controls, question)
    with np.load(tmp_path / "samples.npz") as arrays:
        assert {*arrays} == {*drawn}
        for key in arrays:
            np.testing.assert_array_equal(arrays[key], drawn[key])


def test_given_values_are_those_that_a_run_takes(runs):
    full = Question(label="3", condition="x.png", prefix="ab", cells={"species": "setosa", "petal width (cm)": "0.2"})
    texts = {name: given_texts(controls_of(run), full) for name, run in runs.items()}
    assert texts == {
        "gan": ["y=3"],
        "vae": [],
        "table": ["species=setosa,petal width (cm)=0.2"],
        "text": ["prefix=ab"],
        "paired": ["image=x.png"],
        "sound": [],
        "music": [],
    }
    assert given_texts(controls_of(runs["paired"]), Question()) == ["split=test"]
    assert given_texts(controls_of(runs["gan"]), Question(label=ANY)) == []
    commas = Question(cells={"species": 'a,"b"', "petal width (cm)": "1"})
    assert given_texts(controls_of(runs["table"]), commas) == ['"species=a,""b""",petal width (cm)=1']


def test_latents_are_moved_from_those_of_the_seed(runs):
    run, order = runs["vae"], [0, 1]
    places = drawn_places(run, 4, order)
    still, there = moved(run, 4, order, places)["x"], moved(run, 4, order, [places[0], -places[1]])["x"]
    expected = run.decode(gen_jax.verbs.paths.draws(run.model, run.state, 4, 1))["x"]
    np.testing.assert_allclose(still.astype(int), expected.astype(int), atol=1)
    assert np.abs(there.astype(int) - still).max() > 1


def test_an_image_is_erased_and_completed(runs):
    run = runs["vae"]
    x = run.sample(1)["x"][0]
    background = Image.fromarray(np.rint(x[..., 0] * (255 / 16)).astype(np.uint8)).resize(
        (64, 64), Image.Resampling.NEAREST
    )
    layer = Image.new("RGBA", (64, 64))
    layer.paste((255, 0, 0, 255), (0, 0, 32, 64))
    back, seen = erased(run, {"background": background, "layers": [layer]})
    np.testing.assert_array_equal(back, x)
    assert not seen[:, :4].any() and seen[:, 4:].all()
    drawing = {"background": background, "layers": [layer]}
    assert completions(run, 0, drawing)[0].size[0] > 100
    seven, eight = (completions(runs["gan"], 0, drawing, label)[0].tobytes() for label in "78")
    assert seven != eight


def test_tunes_in_a_text_are_heard():
    assert sound_of("the cat sat\n\non the mat") is None
    pytest.importorskip("music21")
    tune = "X:1\nM:4/4\nL:1/4\nK:C\nAAAA|aaaa|"
    rate, sound = wavfile.read(io.BytesIO(sound_of(f"{tune}\n{'-' * 80}\nX:1\nK:C\n|(3|")))
    peaks = [np.abs(np.fft.rfft(sound[at * rate : (at + 1) * rate].astype(float))).argmax() for at in (0, 2)]
    np.testing.assert_allclose(peaks, [440, 880], atol=2)
    assert len(sound) / rate == pytest.approx(4.5, abs=0.6)
    endless = wavfile.read(io.BytesIO(sound_of("X:1\nM:4/4\nL:1/4\nK:C\nA99999999|")))[1]
    assert len(endless) / rate == pytest.approx(LONGEST, abs=1)


def test_a_column_is_asked_given_another(runs):
    rows = answered(runs["table"], "species", "petal width (cm)>1", 0)[0]
    assert {level for level, _ in rows} == {"setosa", "versicolor", "virginica"}
    assert sum(float(share) for _, share in rows) == pytest.approx(1, abs=1e-3)


WRONG = {
    "no number": (lambda runs: whole("seed", "x"), "seed is 'x'; expected a whole number"),
    "half a sample": (lambda runs: whole("number of samples", 2.5), "number of samples is '2.5'"),
    "no samples": (lambda runs: answer_of(runs["gan"], num=0), "number of samples is 0; expected 1 to 256"),
    "too many": (lambda runs: answer_of(runs["gan"], num=10**6), "number of samples is 1000000"),
    "seed": (lambda runs: answer_of(runs["gan"], seed=-1), "seed is -1"),
    "label": (lambda runs: answer_of(runs["gan"], label="12"), "'12'"),
    "cell": (lambda runs: answer_of(runs["table"], cells={"species": "rose"}), "rose"),
    "letter": (lambda runs: answer_of(runs["text"], prefix="Q"), "Q"),
    "option": (lambda runs: answer_of(runs["text"], options={"temperature": -1}), "temperature"),
    "file": (lambda runs: answer_of(runs["paired"], condition="none.png"), "none.png is no picture"),
    "erased": (lambda runs: erased(runs["vae"], {"background": None, "layers": []}), "there is no image"),
    "file of the server": (lambda runs: given_texts(TEXTUAL, Question(condition="@/etc/passwd")), "begins with '@'"),
    "length": (lambda runs: answer_of(runs["text"], length=0), "length is 0; expected 1 to"),
    "seed of a completion": (lambda runs: seed_of(1e30), "seed is"),
    "nothing": (lambda runs: erased(runs["vae"], {"background": Image.new("L", (8, 8)), "layers": []}), "nothing is"),
    "query": (lambda runs: answered(runs["table"], "species", "smell=good", 0), "smell"),
}


TEXTUAL = Controls((), "text", False, False, (), (), False, {}, False, False, False)


def answer_of(run, **question):
    return answer(run, controls_of(run), Question(**question))


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_line(name, runs):
    ask, line = WRONG[name]
    blank, text = in_one_line(lambda: [ask(runs)], [None])()
    assert blank is None and line in text and "\n" not in text and text.startswith("**")


def test_the_newest_checkpoint_is_taken(begun, monkeypatch):
    workdir = begun("grows", 4)
    shelf = Shelf([str(workdir)])
    assert shelf.renew(str(workdir)).step == 4 and shelf.renew(str(workdir)) is shelf.runs[str(workdir)]
    shutil.rmtree(workdir)
    begun("grows", 12)
    assert shelf.renew(str(workdir)).step == 12


def test_the_command_refuses_what_is_no_run(tmp_path):
    with pytest.raises(UserError, match="workdir is missing; expected workdir \\[workdir ...\\]"):
        demo.main(["demo"])
    with pytest.raises(UserError, match="--port is 99999999"):
        demo.main(["demo", "--workdir", str(tmp_path), "--port=99999999"])
    if not gradio_is_here():
        with pytest.raises(UserError, match="package gradio is missing; .*gen_jax\\[demo\\]"):
            demo.main(["demo", "--workdir", str(tmp_path)])
        return
    with pytest.raises(UserError, match="no run in"):
        demo.main(["demo", "--workdir", str(tmp_path)])


def gradio_is_here() -> bool:
    try:
        import gradio  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.fixture(scope="module")
def browser():
    pytest.importorskip("gradio")
    sync = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with sync.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(runs):
    from gen_jax.page.blocks import page

    blocks = page([str(run.workdir) for run in runs.values()])
    yield blocks.launch(prevent_thread_lock=True, quiet=True, share=False)[1]
    blocks.close()


def opened(browser, address):
    page = browser.new_page(viewport={"width": 3400, "height": 1800}, accept_downloads=True)
    page.goto(address)
    page.get_by_role("button", name="draw", exact=True).first.wait_for(timeout=60_000)
    return page


def column(page, number):
    return page.locator(f"#run-{number}")


def downloaded(page, column, folder, name="samples.npz"):
    link = column.locator(f"a[download='{name}']").first
    link.wait_for(timeout=60_000)
    with page.expect_download() as download:
        link.click()
    download.value.save_as(folder / name)
    return folder / name


def test_each_run_is_drawn_in_a_browser_with_the_bytes_of_the_command(browser, address, runs, tmp_path):
    page = opened(browser, address)
    page.get_by_label("number of samples").fill("3")
    page.get_by_label("seed", exact=True).fill("2")
    page.get_by_role("button", name="draw all").click()
    for number, (name, run) in enumerate(runs.items()):
        folder = tmp_path / name
        folder.mkdir()
        path = downloaded(page, column(page, number), folder)
        expected = answer(run, controls_of(run), Question(num=3, seed=2))
        with np.load(path) as arrays:
            for key in arrays:
                np.testing.assert_array_equal(arrays[key], expected[key])
    page.close()


def test_labels_latents_paths_and_queries_are_clicked(browser, address, runs):
    page = opened(browser, address)
    gan, vae, table = (column(page, number) for number in range(3))
    gan.get_by_label("label").click()
    page.get_by_role("option", name="7", exact=True).click()
    gan.get_by_role("button", name="draw", exact=True).click()
    shown = gan.locator(".command textarea")
    page.wait_for_function("box => box.value.includes('--given')", arg=shown.element_handle(), timeout=60_000)
    assert "--given y=7" in shown.input_value()
    vae.get_by_text("paths between samples").click()
    vae.get_by_role("button", name="draw paths").click()
    vae.locator("img").first.wait_for(timeout=60_000)
    table.get_by_text("probabilities of a column").click()
    table.get_by_role("button", name="ask").click()
    table.get_by_text("setosa").first.wait_for(timeout=60_000)
    if os.environ.get("SCREENSHOTS"):  # a folder for the pictures of the guide
        page.wait_for_timeout(2000)
        page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / "demo.png", full_page=True)
    page.close()


def wait_until(page, reached, seconds=60):
    """Waits; locators see the shadow roots of Gradio's components, and scripts of the page do not."""
    for _ in range(5 * seconds):
        if reached():
            return
        page.wait_for_timeout(200)
    pytest.fail("waited too long")


def durations(part):
    """Returns the durations in seconds of the sounds that the players of a column hold."""
    return [player.evaluate("player => player.duration || 0") for player in part.locator("audio").all()]


def drawn_in(page, part, folder):
    """Draws from the run of a column, and returns the arrays that the page gives."""
    folder.mkdir()
    part.get_by_role("button", name="draw", exact=True).click()
    with np.load(downloaded(page, part, folder)) as arrays:
        return dict(arrays)


def test_conditions_and_options_are_filled_in_and_drawn(browser, address, runs, tmp_path):
    page = opened(browser, address)
    page.get_by_label("number of samples").fill("2")
    parts = {name: column(page, number) for number, name in enumerate(runs)}
    parts["text"].get_by_label("beginning of the text").fill("the c")
    parts["text"].get_by_label("length; empty").fill("30")
    parts["text"].get_by_label("temperature; empty").fill("0.5")
    parts["paired"].locator("input[type=file]").first.set_input_files(runs["paired"].workdir.parent / "1.png")
    parts["paired"].get_by_text("1.png").first.wait_for(timeout=60_000)
    parts["table"].get_by_role("gridcell").nth(4).dblclick()
    page.keyboard.type("setosa")
    page.keyboard.press("Enter")
    questions = {
        "text": Question(num=2, prefix="the c", length=30, options={"temperature": 0.5}),
        "paired": Question(num=2, condition=str(runs["paired"].workdir.parent / "1.png")),
        "table": Question(num=2, cells={"species": "setosa"}),
    }
    for name, question in questions.items():
        drawn = drawn_in(page, parts[name], tmp_path / name)
        expected = answer(runs[name], controls_of(runs[name]), question)
        for key in expected:
            np.testing.assert_array_equal(drawn[key], expected[key])
    page.close()


def test_a_latent_is_moved_and_a_part_is_erased_with_the_mouse(browser, address, runs):
    page = opened(browser, address)
    vae = column(page, 1)
    vae.get_by_text("move latents").click()
    slider = vae.locator("input[type=range]").first
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    vae.locator("img").first.wait_for(timeout=60_000)
    vae.get_by_text("erase a part and complete it").click()
    vae.get_by_role("button", name="take a sample of the seed").click()
    vae.get_by_role("button", name="Brush", exact=True).wait_for(timeout=60_000)
    canvas = vae.locator("canvas").first
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(3000)  # until the editor has drawn the image
    box = canvas.bounding_box()
    at = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    page.mouse.move(*at)
    page.mouse.down()
    page.mouse.move(at[0] + 40, at[1] + 40, steps=8)
    page.mouse.up()
    pictures = vae.locator("img").count()
    vae.get_by_role("button", name="complete", exact=True).click()
    wait_until(page, lambda: vae.locator("img").count() > pictures)
    assert not vae.get_by_text("nothing is erased").count()
    if os.environ.get("SCREENSHOTS"):
        vae.screenshot(path=Path(os.environ["SCREENSHOTS"]) / "demo_erase.png")
    page.close()


def test_sounds_and_music_are_heard_in_a_browser(browser, address, runs, tmp_path):
    page = opened(browser, address)
    page.get_by_label("number of samples").fill("2")
    for name in ("sound", "music"):
        part = column(page, [*runs].index(name))
        part.get_by_role("button", name="draw", exact=True).click()
        path = downloaded(page, part, tmp_path, "samples.wav")
        rate, amplitudes = wavfile.read(path)
        wait_until(page, lambda part=part: max(durations(part), default=0) > 0)
        assert max(durations(part)) == pytest.approx(len(amplitudes) / rate, abs=0.1)
        assert np.abs(amplitudes.astype(int)).max() > 100
    page.close()


def test_a_page_that_is_loaded_again_takes_the_newest_checkpoint(browser, begun, tmp_path):
    from gen_jax.page.blocks import page as page_of

    workdir = begun("grows", 4)
    blocks = page_of([str(workdir)])
    page = opened(browser, blocks.launch(prevent_thread_lock=True, quiet=True, share=False)[1])
    page.get_by_text("step 4 of 4").wait_for(timeout=60_000)
    shutil.rmtree(workdir)
    begun("grows", 12)
    page.reload()
    page.get_by_text("step 12 of").wait_for(timeout=60_000)
    page.get_by_label("number of samples").fill("2")
    column(page, 0).get_by_role("button", name="draw", exact=True).click()
    with np.load(downloaded(page, column(page, 0), tmp_path)) as arrays:
        np.testing.assert_array_equal(arrays["x"], gen_jax.load(workdir).sample(2)["x"])
    page.close()
    blocks.close()


def test_a_wrong_seed_is_a_line_on_the_page_and_browsers_do_not_share(browser, address, runs, tmp_path):
    first, second = opened(browser, address), opened(browser, address)
    for page, seed in ((first, "5"), (second, "6")):
        page.get_by_label("number of samples").fill("2")
        page.get_by_label("seed", exact=True).fill(seed)
    for page in (first, second):
        column(page, 0).get_by_role("button", name="draw", exact=True).click()
    for page, seed in ((first, 5), (second, 6)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with np.load(downloaded(page, column(page, 0), folder)) as arrays:
            np.testing.assert_array_equal(arrays["x"], runs["gan"].sample(2, seed=seed)["x"])
    first.get_by_label("seed", exact=True).fill("-4")
    column(first, 0).get_by_role("button", name="draw", exact=True).click()
    column(first, 0).get_by_text("seed is -4; expected 0 to").wait_for(timeout=60_000)
    assert not first.get_by_text("Traceback").count()
    for page in (first, second):
        page.close()
