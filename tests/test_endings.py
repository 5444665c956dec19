"""Replies that are not whole, and thinking that is no answer."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI

from metascale import ChatMetaScale, MetaScaleSettings, create_metascale
from metascale.models.cleaning import clean_message
from metascale.models.flaws import flaw_of, outcome
from tests.conftest import ServerFactory, ask, chat_model
from tests.openai_server import Fault
from tests.scripted import verdict

STATE: Any = {"output_keys": ["result", "candidates", "pool"]}
SMALL = MetaScaleSettings(budget=4, confirm=0, max_retries=0)


@pytest.mark.parametrize(
    ("about", "ending"),
    [
        *(({"finish_reason": name}, "whole") for name in ("stop", "STOP", "tool_calls", "eos", "COMPLETE", None, "")),
        *(({"stop_reason": name}, "whole") for name in ("end_turn", "stop_sequence", "tool_use", "eos_token")),
        ({"stopReason": "end_turn"}, "whole"),
        ({"done_reason": "stop"}, "whole"),
        ({"finish_reason": "FinishReason.STOP"}, "whole"),
        ({"object": "response", "status": "completed"}, "whole"),
        ({"status": 200}, "whole"),
        *(({"finish_reason": name}, "whole") for name in ("stopstop", "STOPSTOP", "tool_callstool_calls")),
        ({"completionReason": "FINISH"}, "whole"),
        ({"completionReason": "LENGTH"}, "limit"),
        *(({"finish_reason": name}, "limit") for name in ("length", "MAX_TOKENS", "model_length", "lengthlength")),
        ({"stop_reason": "model_context_window_exceeded"}, "limit"),
        ({"stopReason": "max_tokens"}, "limit"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "limit"),
        ({"incomplete_details": {"reason": "content_filter"}}, "refused"),
        *(({"finish_reason": name}, "refused") for name in ("content_filter", "SAFETY", "RECITATION")),
        ({"stopReason": "guardrail_intervened"}, "refused"),
        ({"stop_reason": "refusal"}, "refused"),
        *(
            ({"finish_reason": name}, "not whole")
            for name in (
                "error",
                "abort",
                "MALFORMED_FUNCTION_CALL",
                "OTHER",
                "insufficient_system_resource",
                "x" * 999,
            )
        ),
        ({"stop_reason": "pause_turn"}, "not whole"),
        ({"stopReason": "malformed_model_output"}, "not whole"),
        ({"status": "incomplete"}, "not whole"),
        ({"object": "response", "status": "failed"}, "not whole"),
        ({"incomplete_details": {}, "done_reason": "load"}, "not whole"),
    ],
)
def test_an_ending_that_is_not_known_to_be_good_is_a_flaw(about: dict[str, Any], ending: str) -> None:
    message = AIMessage("It is 7.", response_metadata=about)
    flaw = flaw_of(message)
    assert (flaw is None) == (ending == "whole")
    if flaw is not None:
        assert (flaw.status == "refused") == (ending == "refused")
        assert flaw.at_limit == (ending == "limit")
        assert len(outcome(message)[2] or "") < 200
        assert outcome(message)[1] == "It is 7."


def test_half_an_answer_is_not_chosen_for_its_reward(start_server: ServerFactory) -> None:
    def script(kind: str, number: int, body: dict[str, Any]) -> Fault | None:
        if kind == "solve":
            return Fault(text="Half an ans", finish_reason="error") if number == 0 else Fault(text=f"Answer {number}.")
        return (
            Fault(text=verdict(10 if "Half an ans" in body["messages"][1]["content"] else 4))
            if kind == "judge"
            else None
        )

    for target in (None, 0.9):
        server = start_server(script=script)
        state = create_metascale(chat_model(server), settings=SMALL).invoke(
            ask(), context={"target_reward": target}, **STATE
        )
        (half,) = [c for c in state["candidates"] if c["text"] == "Half an ans"]
        assert half["status"] == "truncated"
        assert half["error"] == "the answer ended with 'error'"
        assert half["reward"] == 1.0
        assert state["result"]["answer"].startswith("Answer ")
        assert state["result"]["stop_reason"] == "budget"
        assert any("ended with 'error'" in note for note in state["result"]["notes"])


def test_half_an_answer_is_given_if_there_is_no_other(start_server: ServerFactory) -> None:
    server = start_server(script=lambda kind, *_: Fault(finish_reason="abort") if kind == "solve" else None)
    result = create_metascale(chat_model(server), settings=SMALL.model_copy(update={"confirm": 2})).invoke(ask())[
        "result"
    ]
    assert result["answer"]
    assert result["reward"] is not None


THINKING = [
    "<think>The answer is 7. Wait, no. So 5.</think>\n\n",
    "The answer is 7. Wait, no. So 5.\n</think>\n\n",
    '<think>{"critique": "right", "score": 9}, no: {"critique": "fine", "score": 1}</think>',
    "<think></think>\n",
    "<thinking>Say {} or 7.</thinking>",
]


@pytest.mark.parametrize("thinking", THINKING)
@pytest.mark.parametrize("forms", [frozenset({"json_schema", "tools"}), frozenset()], ids=["every form", "prompt"])
def test_thinking_is_no_answer_no_verdict_and_nothing_to_judge(
    start_server: ServerFactory, thinking: str, forms: Any
) -> None:
    def script(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
        said = {
            "solve": "5 apples remain",
            "synthesize": "5 apples remain",
            "judge": verdict(2, "It says nothing of pears."),
        }.get(kind)
        return Fault(text=lambda text: thinking + (said or text))

    server = start_server(script=script, forms=forms)
    settings = MetaScaleSettings(budget=6, max_retries=0, synthesize=True)
    state = create_metascale(chat_model(server), settings=settings).invoke(ask(), **STATE)
    result = state["result"]
    assert result["answer"] == "5 apples remain"
    assert all(c["reward"] == pytest.approx(1 / 9) for c in state["candidates"])
    assert not {c["extracted"] for c in state["candidates"]} & {"7", "9"}
    assert all(thought["origin"] in {"fixed", "self_composed", "synthesis"} for thought in state["pool"])
    bodies = [message["content"] for served in server.served for message in served.body["messages"]]
    assert not any("Wait, no" in body or "think>" in body for body in bodies)
    judged = [c for c in state["candidates"] if not c.get("shared")]
    assert server.count("judge") == len(judged) + sum(len(c["looks"]) for c in state["candidates"])
    assert result["usage"]["output_tokens"] == server.output_tokens
    assert result["usage"]["calls"] == server.requests.total()


@pytest.mark.parametrize("text", ["<think>It may be 7, or", "<think>It is 7.</think>", "It is 7.</think>  "])
def test_an_answer_that_is_all_thinking_is_empty_and_says_why(start_server: ServerFactory, text: str) -> None:
    server = start_server(
        script=lambda kind, number, _: (
            Fault(text=text, finish_reason="length") if (kind, number) == ("solve", 0) else None
        )
    )
    state = create_metascale(chat_model(server), settings=SMALL).invoke(ask(), **STATE)
    (empty,) = [c for c in state["candidates"] if c["status"] != "ok"]
    assert empty["status"] == "empty"
    assert empty["error"] == "the reply holds only thinking and no answer: it was cut off at the token limit"
    assert empty["text"] == ""
    assert empty["reward"] == 0.0
    assert empty["output_tokens"] > 0
    assert state["result"]["candidate"] != empty["id"]


def test_thinking_that_the_server_reports_apart_is_no_answer() -> None:
    blocks: list[Any] = [{"type": "thinking", "thinking": "7?"}, {"type": "text", "text": "It is 5."}]
    assert outcome(AIMessage(blocks)) == ("ok", "It is 5.", None)
    counted: Any = {"input_tokens": 1, "output_tokens": 9, "total_tokens": 10, "output_token_details": {"reasoning": 9}}
    for message in (
        AIMessage(blocks[:1]),
        AIMessage([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "7?"}]}]),
        AIMessage("", additional_kwargs={"reasoning_content": "7?"}),
        AIMessage("", usage_metadata=counted),
        clean_message(AIMessage([{"type": "text", "text": "<think>7?"}])),
    ):
        assert outcome(message) == ("empty", "", "the reply holds only thinking and no answer")


def test_thinking_is_kept_apart_from_the_message(start_server: ServerFactory) -> None:
    said = AIMessage("<think>7?</think>It is 5.")
    clean = clean_message(said)
    assert clean.content == "It is 5."
    assert clean.additional_kwargs["reasoning_content"] == "<think>7?</think>"
    assert said.content == "<think>7?</think>It is 5."
    plain = AIMessage("It is 5.\n")
    assert clean_message(plain) is plain
    server = start_server(
        script=lambda kind, *_: Fault(text=lambda text: THINKING[0] + text) if kind == "solve" else None
    )
    model: Any = ChatMetaScale(model=ChatOpenAI(model="loopback", base_url=server.url, api_key="none"), settings=SMALL)
    reply = model.invoke("Why?")
    assert "Wait" not in reply.text
    assert "Wait, no" in reply.additional_kwargs["reasoning_content"]
