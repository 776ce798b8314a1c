"""Errors as a user should meet them: one clear message, exit code 1, no traceback."""

import typer
from typer.core import TyperGroup

__all__ = ["Reported"]

# What bad input raises, in the library and at its border. All else is our fault and shows itself.
USER_ERRORS = (ValueError, KeyError, OSError, ImportError)


class Reported(TyperGroup):
    """A group of verbs that turns errors about the input into a message on stderr."""

    # typer brings its own click since 0.20, and click's Context before.
    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except USER_ERRORS as error:
            if ctx.params.get("traceback"):
                raise
            _report(error)
            raise typer.Exit(1) from error


def _report(error: Exception) -> None:
    from rich.console import Console
    from rich.text import Text

    lines = [_message(error) or type(error).__name__, *getattr(error, "__notes__", [])]
    console = Console(stderr=True, highlight=False)
    text = Text("Error: ", style="bold red") + Text("\n".join(lines), style="red")
    console.print(text, soft_wrap=True)


def _message(error: Exception) -> str:
    """The text, without the quotes of a KeyError and the number of an error of the system."""
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror.lower()}"
    return str(error)
