"""The `ratchet` command. Nothing heavy is imported before a subcommand needs it."""

from __future__ import annotations

import importlib
import os
import sys

import click

from ratchet.errors import ProviderError, RatchetError, StoreError

# name -> (where the command is, its line in the help): listing them imports none
COMMANDS = {
    "init": ("ratchet.cli.init:init", "Lay a small project in a folder."),
    "demo": ("ratchet.cli.demo:demo", "Run a real case end to end, without a key."),
    "run": ("ratchet.cli.run:run", "Try variants on a dataset, score every answer, keep everything."),
    "score": (
        "ratchet.cli.score:score",
        "Judge the answers of a run again, or put recorded results in numbers.",
    ),
    "compare": ("ratchet.cli.compare:compare", "May this change ship? Judge one arm against another."),
    "power": ("ratchet.cli.power:power", "Say what difference the data can show, before money is spent."),
    "verify": (
        "ratchet.cli.verify:verify",
        "Make the verdict of an evidence file again, offline: same or different.",
    ),
    "load": ("ratchet.cli.load:load", "Drive variants as production would: latency, goodput, capacity."),
    "judge": ("ratchet.cli.judge:judge", "Measure a judge against people's labels."),
    "label": ("ratchet.cli.label:label", "Deal answers out to people, and take their labels along."),
    "cost": ("ratchet.cli.cost:cost", "Say what a change costs and saves."),
    "list": ("ratchet.cli.listing:list_runs", "List the runs of a store."),
    "show": ("ratchet.cli.show:show", "Show a run, or one answer with all its steps."),
    "view": ("ratchet.cli.view:view", "Look at runs, verdicts and answers in a browser."),
    "export": ("ratchet.cli.export:export", "Write the answers and scores of a run to a file."),
    "simulate": ("ratchet.cli.simulate:simulate", "Serve simulated models over HTTP."),
    "doctor": ("ratchet.cli.doctor:doctor", "Check keys, endpoints, prices, sandbox and extras."),
}

EXIT_WRONG_USE = 2
EXIT_FAILED = 4


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is called, and not for the list of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        return getattr(importlib.import_module(module), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.version_option(package_name="ratchet-llm", prog_name="ratchet")
def cli() -> None:
    """The release engineer for model changes: run, judge, release, watch.

    A first result without a key: ratchet demo
    """


def main() -> None:
    """The entry point: errors become one message on standard error and an exit code, never a traceback."""
    try:
        status = cli.main(standalone_mode=False)
    except click.exceptions.Exit as leaving:
        status = leaving.exit_code
    except click.ClickException as error:
        error.show()
        status = EXIT_WRONG_USE
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        status = EXIT_FAILED
    except SystemExit:
        if not type(sys.stdout).__name__.endswith("PacifyFlushWrapper"):
            raise
        # click found that the reader has gone, as in `ratchet list | head`: its 1 would say "hold", 0 "ship"
        status = EXIT_FAILED
    except RatchetError as error:
        _say(f"{type(error).__name__}: {error}")
        status = EXIT_FAILED if isinstance(error, (StoreError, ProviderError)) else EXIT_WRONG_USE
    except Exception as error:
        _say(
            f"unexpected {type(error).__name__}: {error}\n"
            "  This is a defect in Ratchet. RATCHET_DEBUG=1 shows where; please report it with that."
        )
        if os.environ.get("RATCHET_DEBUG"):
            import traceback

            _say(traceback.format_exc())  # not raised: what Python prints by itself would show keys
        status = EXIT_FAILED
    sys.exit(status if isinstance(status, int) else 0)


def _say(message: str) -> None:
    from ratchet.policy import redact

    click.echo(redact(message), err=True)
