"""Questions that a fuzzer makes, by coverage: nothing but `BadRequest` may come out of reading one, and it ends soon.

python -m pip install atheris
python -m bench.fuzzing -max_total_time=600 -timeout=2 corpus/
"""

import sys

import atheris  # type: ignore[import-untyped]  # no dependency: only who fuzzes needs it

with atheris.instrument_imports(include=["qa_service"]):
    from qa_service import parsing as reading
    from qa_service.errors import BadRequest
    from qa_service.schemas.requests import read_query


def one(data: bytes) -> None:
    """Reads the bytes as a question, and as a link to an entry."""
    provider = atheris.FuzzedDataProvider(data)
    text = provider.ConsumeUnicode(2000)
    try:
        reading.parse_question(text)
    except BadRequest:
        pass
    try:
        read_query(text[:50], {"seed": text[50:80], text[80:100]: text[100:130]})
    except BadRequest:
        pass


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
