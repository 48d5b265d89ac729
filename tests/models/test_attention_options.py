"""Options of a variant are its own, of their type, and in their range; mistakes are all named at once."""

import pytest

from spermjax.config import Experiment, Guidance, Model
from spermjax.errors import ConfigError
from spermjax.models.build import build_model
from spermjax.validation import validate


@pytest.mark.parametrize(
    ("attention", "words", "message"),
    [
        ("window", ("windw=3",), "window has no option 'windw'. Did you mean 'window'?"),
        ("window", ("features=3",), "window has no option 'features'. It is an option of performer."),
        ("softmax", ("window=3",), "softmax has no option 'window'. It is an option of window."),
        ("window", ("window=two",), "window must be a whole number"),
        ("window", ("shift=maybe",), "shift must be true or false"),
        ("window", ("window",), "'window' is not of the form key=value"),
        ("window", ("window=2", "window=3"), "'window=3' gives window a second time"),
        ("window", ("window=0",), "window is 0; it must be 1 or more"),
        ("cosine", ("initial_scale=nan",), "initial_scale must be a number"),
        ("cosine", ("initial_scale=-1",), "initial_scale is -1.0; it must be above 0"),
        ("performer", ("features=0",), "features is 0; it must be 1 or more"),
        ("rotary", ("base=1",), "base is 1.0; it must be above 1"),
    ],
)
def test_a_wrong_option_is_refused(attention, words, message):
    with pytest.raises(ConfigError) as error:
        validate(Experiment(model=Model(attention=attention, attention_options=words)))
    assert message in str(error.value)


def test_all_are_named_at_once():
    model = Model(attention="window", attention_options=("shift=1", "size=3", "window=-2"))
    with pytest.raises(ConfigError) as error:
        validate(Experiment(model=model))
    assert str(error.value).count("--model.attention-options") == 3


@pytest.mark.parametrize(
    ("attention", "heads", "message"), [("differential", 64, "halves them"), ("rotary", 64, "a multiple of 4")]
)
def test_heads_must_suit_the_variant(attention, heads, message):
    width = 64 * (1 if attention == "differential" else 2)
    with pytest.raises(ConfigError, match=message):
        validate(Experiment(model=Model(attention=attention, heads=heads, width=width)))


def test_an_option_reaches_its_layer():
    model = build_model(Model(attention="window", attention_options=("window=2", "shift=false")), num_outputs=2)
    assert dict(model.attention_options) == {"window": 2, "shift": False}


def test_part_queries_can_be_guided_only_where_there_are_some():
    guidance = Guidance(weight=0.1, source="part_query")
    validate(Experiment(model=Model(attention="part_query"), guidance=guidance))
    with pytest.raises(ConfigError, match="softmax has no part queries; choose"):
        validate(Experiment(guidance=guidance))
