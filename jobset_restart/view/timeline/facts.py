"""What a restart came to, in words: the same in both forms of the picture, and in its text alternative. Pure."""

from __future__ import annotations

from jobset_restart.progress import Happening
from jobset_restart.view.text import counted, doing, duration, expected
from jobset_restart.view.timeline.markup import STACK, moment
from jobset_restart.view.timeline.recording import Line, Opened, Recording

SHOWN_ROUNDS = 50
SHOWN_BUDGETS = 50


def title(of: Recording) -> str:
    """ "Restart of JobSet training/llama"."""
    planned = of.planned
    return f"Restart of {planned.kind} {planned.namespace}/{planned.jobset}" if planned else "Restart"


def outcome(of: Recording) -> tuple[str, bool]:
    """How it ended, and whether that is well."""
    back, total = of.progress.counts["ready"], len(of.lines)
    came = f"{back:,} of {counted(total, 'slot')} were back"
    if of.fault:
        return f"it ended early: {of.fault}; {came}", False
    if of.finished is not None:
        code = of.finished.exit_code
        return f"exit {code}: {of.finished.reason or came}", code == 0
    if of.detached is not None:
        return f"its client left it: {came}; carry on with: {of.detached.follow}", False
    return f"the recording ends in the middle: {came}", False


def facts(of: Recording) -> list[tuple[str, str]]:
    """What is to be known of it besides: names and values."""
    planned, finished = of.planned, of.finished
    found = [("Took", duration(of.seconds)), ("Predicted", predicted(of))]
    if planned is not None:
        found += [
            ("How", ", then ".join(how(each) for each in of.rounds[:SHOWN_ROUNDS])),
            ("Why so", planned.reason),
            ("Predicted from", "; ".join(grounds(of))),
            ("Operation", planned.operation),
            ("Cluster", planned.context),
        ]
    found += [
        ("By", of.owner),
        ("Began", moment(of.begin)),
        ("Ended", moment(of.end)),
        ("Left alone", counted(len(of.left_alone), "slot") if of.left_alone else ""),
        ("Writes", f"{finished.writes:,}" if finished else ""),
        ("Requests tried again", f"{of.progress.retries:,}" if of.progress.retries else ""),
        ("API server away", _outages(of)),
        ("Spent", "; ".join(budget_words(of))),
    ]
    return [(name, text) for name, text in found if text]


def predicted(of: Recording) -> str:
    """What was expected, round by round."""
    return ", then ".join(foreseen(each) for each in of.rounds[:SHOWN_ROUNDS] if each.predicted)


def foreseen(opened: Opened) -> str:
    """ "about 12s (3.0s to 40s)"; "-" where nothing was said."""
    if opened.prediction is not None:
        return expected(opened.prediction)
    return f"about {duration(opened.predicted)}" if opened.predicted else "-"


def grounds(of: Recording) -> list[str]:
    """What the predictions rest on."""
    made = (each.prediction for each in of.rounds[:SHOWN_ROUNDS] if each.prediction)
    return list(dict.fromkeys(ground for prediction in made for ground in prediction.grounds))


def how(opened: Opened) -> str:
    """ "restart 4 slots in place by image"."""
    return f"{doing(opened.strategy, counted(opened.slots, 'slot'))} by {opened.trigger or '-'}"


def budget_words(of: Recording) -> list[str]:
    """What was spent of which budget."""
    budgets = of.progress.budgets()
    more = [f"and {len(budgets) - SHOWN_BUDGETS:,} more"] if len(budgets) > SHOWN_BUDGETS else []
    return [f"{b.name}: {b.before:,} to {b.after:,} of {b.limit:,}" for b in budgets[:SHOWN_BUDGETS]] + more


def described(of: Recording) -> str:
    """The picture for somebody who cannot see it."""
    states = of.progress.counts
    counts = ", ".join(f"{states[state]:,} {state}" for state in STACK if states[state])
    parts = [f"{counted(len(of.lines), 'slot')} over {duration(of.seconds)}. At the end: {counts or 'none'}."]
    took = of.progress.quantiles().get("trigger to ready")
    if took is not None:
        parts.append(
            f"From its trigger, half of the slots were back within {duration(took.p50)}, nine of ten within "
            f"{duration(took.p90)}, the last within {duration(took.most)}."
        )
    parts += [f"{each.slot} took {duration(each.took(of.end))}: {delayed(each, of.end)}." for each in of.slowest(3)]
    return " ".join(parts)


def delayed(line: Line, end: float) -> str:
    """What the slot spent most of its time with: "starting for 41s (ImagePullBackOff)". `end` is when the recording
    ends."""
    if line.state == "failed":
        return f"failed: {line.last_words() or 'no reason was given'}"
    found = line.longest(end)
    if found is None:
        return "never triggered"
    span, seconds = found
    reason = span.reason or (line.last_words() if line.state != "ready" else "")
    return f"{span.state} for {duration(seconds)}" + (f" ({reason})" if reason else "")


def told(happened: Happening, begin: float) -> tuple[str, str]:
    """When it happened after the beginning, and the sentence."""
    return f"+{duration(max(0.0, happened.time - begin))}", str(happened)


def _outages(of: Recording) -> str:
    gone = [(till if till is not None else of.end) - since for since, till in of.outages]
    return f"{counted(len(gone), 'time')}, {duration(sum(max(0.0, each) for each in gone))} in all" if gone else ""
