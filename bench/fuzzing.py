"""Coverage-guided fuzzing of the parsers: nothing but `BadRequest` may be raised, within the time limit.

python -m pip install atheris
python -m bench.fuzzing -max_total_time=600 -timeout=2 corpus/
"""

import sys

import atheris  # type: ignore[import-untyped]  # not a dependency: needed for fuzzing only

with atheris.instrument_imports(include=["qa_service"]):
    from qa_service import parsing
    from qa_service.errors import BadRequest
    from qa_service.schemas.requests import read_query


def fuzz_one_input(data: bytes) -> None:
    """Parses the bytes as a question, and as the query of a link to an entry."""
    provider = atheris.FuzzedDataProvider(data)
    text = provider.ConsumeUnicode(2000)
    try:
        parsing.parse_question(text)
    except BadRequest:
        pass
    try:
        read_query(text[:50], {"seed": text[50:80], text[80:100]: text[100:130]})
    except BadRequest:
        pass


if __name__ == "__main__":
    atheris.Setup(sys.argv, fuzz_one_input)
    atheris.Fuzz()
