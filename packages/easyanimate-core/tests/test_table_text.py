"""Tables of spreadsheets are read in the encodings and with the separators that they write."""

import pytest
from easyanimate_core.table_text import decode_text, find_delimiter

TEXT = "file,text\n0.mp4,\u00e9 \u732b\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_the_encodings_of_spreadsheets_are_told(encoding):
    assert decode_text(TEXT.encode(encoding)) == TEXT
    assert decode_text(b"\xfe\xff" + TEXT.encode("utf-16-be")) == TEXT


@pytest.mark.parametrize("data", ["\u00e9t\u00e9".encode("latin-1"), b"a\xff", b"\xff\xfea"])
def test_others_are_refused(data):
    with pytest.raises(UnicodeDecodeError):
        decode_text(data)


@pytest.mark.parametrize("data", [b"", b"a", b"\0", b"\0\0"])
def test_short_texts_are_utf_8(data):
    assert decode_text(data) == data.decode()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_header_tells_what_separates_columns(delimiter):
    assert find_delimiter(f"\n\nfile{delimiter}text\na,b,c;d;e;f\t\t\t\n") == delimiter


def test_a_single_column_is_separated_by_commas():
    assert find_delimiter("prompt\na; b; c\n") == find_delimiter("") == ","
