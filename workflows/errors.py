"""The error of `workflows`. Its message begins with the place in the file (line and path)."""

from pipelines.errors import UserError


class WorkflowError(UserError):
    """A workflow, an input or a run that cannot be used.

    `where` is the path in the file (`steps[1].with.size`), `line` its line, 0 where there is none.
    """

    def __init__(self, message: str, *, where: str = "", line: int = 0) -> None:
        self.where = where
        self.line = line
        place = f"line {line}, {where}" if line and where else where or (f"line {line}" if line else "")
        super().__init__(f"{place}: {message}" if place else message)
