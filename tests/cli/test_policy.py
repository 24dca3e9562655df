"""`bandshift policy`, as a user sees it."""

import json
from pathlib import Path

import pytest

from app.cli import main
from app.policy.read import default_policy


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as left:
        main(["policy", *arguments])
    captured = capsys.readouterr()
    return int(left.value.code or 0), captured.out, captured.err


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    """A copy of the default policy without its cases, which would need a database."""
    path = tmp_path / "mine.toml"
    path.write_text(default_policy().body.partition("[[cases]]")[0], encoding="utf-8")
    return path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_sound_policy_passes_in_one_line(policy_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "check", str(policy_file))
    assert (code, out) == (0, f"{policy_file}: 4 bands, 9 rules, 0 cases: no mistakes\n")


def test_mistakes_fail_with_code_2_and_all_at_once(policy_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(policy_file, "adoption < 0.4", "adoption < 0")
    change(policy_file, "strategic_importance >= 3", "strategic_importance >= 3 and seats < 0")
    code, out, err = run(capsys, "check", str(policy_file))
    assert (code, out) == (2, "")
    said = [line for line in err.splitlines() if "rules[" in line or "mistakes" in line]
    never = "the rule can never fire"
    assert said == [
        f"bandshift: {policy_file} has 2 mistakes:",
        f"  rules[1].when: {never}: `adoption < 0` is never true, as adoption is at least 0 and at most 1",
        f"  rules[6].when: {never}: `seats < 0` is never true, as seats is at least 0",
    ]


def test_warnings_are_printed_and_pass(policy_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(policy_file, "for_weeks = 13", "for_weeks = 40")
    code, out, _ = run(capsys, "check", str(policy_file))
    assert code == 0
    assert out.startswith(
        "warning: rules[1].for_weeks: 40 weeks never run out: the condition ends by itself within 13 weeks"
    )


def test_cases_of_a_second_file_are_run_in_the_users_database(
    policy_file: Path,
    tmp_path: Path,
    database_url: object,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url.render_as_string(hide_password=False))  # type: ignore[attr-defined]  # a URL
    cases = tmp_path / "cases.toml"
    cases.write_text(
        '[[cases]]\nname = "new"\naccount = { arr = 60_000 }\nexpect = { band = "high" }\n', encoding="utf-8"
    )
    code, out, _ = run(capsys, "check", str(policy_file), "--cases", str(cases))
    assert (code, out) == (0, f"{policy_file}: 4 bands, 9 rules, 1 case: no mistakes\n")
    change(cases, '"high"', '"low"')
    code, out, err = run(capsys, "check", str(policy_file), "--cases", str(cases))
    assert (code, out) == (2, "")
    assert f"  {cases} cases[0].expect: 'new': expected band low; came band high, rule entry" in err


def test_a_file_of_cases_holds_nothing_else(
    policy_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "check", str(policy_file), "--cases", str(policy_file))
    assert code == 2
    assert "should hold [[cases]] and not attributes" in err or "should hold [[cases]] and not bands" in err


def test_show_explains_the_default_policy_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "show")
    assert code == 0
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "    low          $7,200    $6,120    250  $1.8M  $180,000 x 1 / 0.10 / 250\n" in out
    assert "    high        $45,000   $38,250     40  $1.8M  $180,000 x 1 / 0.10 / 40\n" in out
    assert "   3. quiet demotes an account to the band below\n" in out
    assert "        when quiet_days > 2 * cadence_days\n" in out
    assert "  api_tickets           how many api_ticket in 60 days, since the last move\n" in out


def test_show_gives_the_file_itself_to_start_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy.toml"
    code, out, _ = run(capsys, "show", "--toml", "--output", str(copy))
    assert (code, out) == (0, "")
    assert copy.read_text(encoding="utf-8") == default_policy().body


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "schema")
    assert code == 0
    assert json.loads(out)["title"] == "bandshift policy"
