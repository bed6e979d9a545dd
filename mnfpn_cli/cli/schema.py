"""`mnfpn schema`."""

import sys
from typing import Annotated

from typer import Argument

from mnfpn_cli.cli.completion import document_words, offering
from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.text import did_you_mean


@grouped
def schema(
    document: Annotated[
        str,
        Argument(
            metavar="DOCUMENT",
            help="A command with a JSON result, as shapes or bench; settings; or worker, for the processes of a sweep.",
            autocompletion=offering(document_words),
        ),
    ],
) -> None:
    """Print the JSON Schema of a document or a settings file.

    Every key has its meaning and its unit.

    Examples:
        mnfpn schema bench
        mnfpn schema settings
    """
    from mnfpn_cli.documents.base import to_json
    from mnfpn_cli.documents.schema import NAMES, document_name
    from mnfpn_cli.documents.schema import schema as schema_of

    name = document_name(document)
    if name not in NAMES:
        near = did_you_mean(document, NAMES)
        raise UsageError(Problem("DOCUMENT", f"must be one of {', '.join(NAMES)}", f"'{document}'", near))
    sys.stdout.write(to_json(schema_of(name)))
