//! The header by example and by property: what is written is read, and nothing that is read harms.
use super::*;
use proptest::prelude::*;

/// A file as numpy writes it: version, dictionary, padding to 64, then `data` zero bytes.
fn file(version: u8, dictionary: &str, data: usize) -> Vec<u8> {
    let before = if version == 1 { 10 } else { 12 };
    let text_len = (before + dictionary.len() + 1).next_multiple_of(64) - before;
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    match version {
        1 => bytes.extend((text_len as u16).to_le_bytes()),
        _ => bytes.extend((text_len as u32).to_le_bytes()),
    }
    bytes.extend(dictionary.as_bytes());
    bytes.resize(before + text_len - 1, b' ');
    bytes.push(b'\n');
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn parse_file(bytes: &[u8]) -> Result<Header, NpyError> {
    parse(bytes, bytes.len() as u64)
}

fn parse_text(dictionary: &str, data: usize) -> Result<Header, NpyError> {
    parse_file(&file(1, dictionary, data))
}

fn is_syntax<T>(result: Result<T, NpyError>) -> bool {
    matches!(result, Err(NpyError::Syntax { .. }))
}

#[test]
fn our_header_is_what_numpy_writes_but_for_its_length() {
    let header = write(&Dtype::known("<f8", 8), &[1000, 257]);
    let text = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000, 257), }";
    assert_eq!(&header[..10], b"\x93NUMPY\x01\x00\xf6\x0f");
    assert_eq!(&header[10..10 + text.len()], text.as_bytes());
    assert!(header[10 + text.len()..HEADER_BYTES - 1].iter().all(|&b| b == b' '));
    assert_eq!(header[HEADER_BYTES - 1], b'\n');
    let shape_text = |shape: &[usize]| {
        let text = write(&Dtype::known("<f8", 8), shape)[10..].to_vec();
        let text = String::from_utf8(text).unwrap();
        text.split_once("'shape': ").unwrap().1.trim().to_owned()
    };
    assert_eq!(shape_text(&[]), "(), }");
    assert_eq!(shape_text(&[5]), "(5,), }");
    assert_eq!(shape_text(&[5, 0, 7]), "(5, 0, 7), }");
}

#[test]
fn all_versions_and_paddings_are_read() {
    for version in [1, 2, 3] {
        let bytes =
            file(version, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", 24);
        let header = parse_file(&bytes).unwrap();
        assert_eq!((header.dtype.descr(), &header.shape[..]), ("<f4", &[3, 2][..]));
        assert_eq!(header.data_offset, bytes.len() - 24);
    }
}

#[test]
fn other_spellings_of_the_same_dictionary_are_read() {
    for text in [
        "{'shape': (3,), 'fortran_order': False, 'descr': '<i2'}",
        "{\"descr\":\"<i2\",\"fortran_order\":False,\"shape\":(3,)}",
        " { 'descr' : '=i2' , 'fortran_order' : False , 'shape' : ( 3L , ) , } ",
        "{'descr': 'i2', 'fortran_order': True, 'shape': (3,), }",
    ] {
        let header = parse_text(text, 6).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!((header.dtype.descr(), &header.shape[..]), ("<i2", &[3][..]), "{text}");
    }
    assert_eq!(
        parse_text("{'descr': '|V7', 'fortran_order': False, 'shape': ()}", 7).unwrap().shape,
        []
    );
}

#[test]
fn one_byte_elements_have_no_order() {
    for descr in ["|u1", "<u1", ">u1", "=u1", "u1"] {
        let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (1,), }}");
        assert_eq!(parse_text(&text, 1).unwrap().dtype.descr(), "|u1");
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    let with = |descr: &str| {
        parse_text(&format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}"), 8)
            .unwrap_err()
    };
    assert_eq!(with("'>f8'"), NpyError::BigEndian { descr: ">f8".into() });
    assert_eq!(with("'|O'"), NpyError::Object { descr: "|O".into() });
    assert_eq!(with("[('a', '<f4'), ('b', '<i4')]"), NpyError::Structured);
    assert_eq!(with("('<f4', (2,))"), NpyError::Structured);
    for descr in [
        "<f2",
        "<f16",
        "<U2",
        "|S8",
        "<M8[ns]",
        "<m8",
        "|V",
        "|V+8",
        "|f8",
        "",
        "<",
        "<c4",
        "|V99999999999999999999",
    ] {
        assert_eq!(with(&format!("'{descr}'")), NpyError::Unsupported { descr: descr.into() });
    }
}

#[test]
fn fortran_order_is_refused_only_where_it_differs() {
    let with = |shape: &str, data| {
        parse_text(&format!("{{'descr': '|u1', 'fortran_order': True, 'shape': {shape}, }}"), data)
    };
    assert_eq!(with("(2, 3)", 6).unwrap_err(), NpyError::FortranOrder { shape: vec![2, 3] });
    assert_eq!(with("(1, 3, 1)", 3).unwrap().shape, [1, 3, 1]);
    assert_eq!(with("(0, 3, 2)", 0).unwrap().shape, [0, 3, 2]);
}

#[test]
fn a_file_of_another_length_is_refused_both_ways() {
    let bytes = file(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), }", 32);
    let need = bytes.len() as u64;
    for cut in 1..=32 {
        let have = need - cut;
        assert_eq!(parse(&bytes, have), Err(NpyError::Truncated { need, have }));
    }
    assert_eq!(parse(&bytes, need + 1), Err(NpyError::Trailing { need, have: need + 1 }));
    for have in 0..64 {
        let error = parse_file(&bytes[..have]).unwrap_err();
        assert!(matches!(error, NpyError::Magic | NpyError::HeaderTruncated { .. }), "{error}");
    }
}

#[test]
fn absurd_shapes_are_refused_without_overflow() {
    let with = |shape: &str| {
        parse_text(&format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"), 0)
    };
    let max = u64::MAX;
    for shape in [
        format!("({max},)"),
        "(1152921504606846976,)".into(),
        "(4294967296, 4294967296)".into(),
        // The product is 0, but ndarray could not hold the shape.
        format!("(0, {max})"),
        "(4294967296, 0, 4294967296)".into(),
    ] {
        let found = with(&shape);
        assert!(matches!(found, Err(NpyError::Overflow { .. })), "{shape}: {found:?}");
    }
    assert!(is_syntax(with("(18446744073709551616,)")));
    assert!(is_syntax(with("(-1,)")));
    assert_eq!(with(&format!("({})", "1,".repeat(65))), Err(NpyError::Rank));
    assert!(matches!(with("(1000000,)"), Err(NpyError::Truncated { .. })));
}

#[test]
fn damaged_dictionaries_are_named_by_what_is_wrong() {
    let key =
        |problem| move |e: NpyError| matches!(e, NpyError::Key { problem: p, .. } if p == problem);
    let fails = |text: &str| parse_text(text, 0).unwrap_err();
    assert!(key("missing")(fails("{'descr': '<f8', 'shape': (0,)}")));
    assert!(key("missing")(fails("{}")));
    assert!(key("there twice")(fails("{'descr': '<f8', 'descr': '<f8', }")));
    assert!(key("not known")(fails("{'descr': '<f8', 'evil': 1}")));
    for text in [
        "",
        "{",
        "[]",
        "{'descr'}",
        "{'descr': '<f8",
        "{'descr': '<f8' 'shape': (0,)}",
        "{'descr': '<\\x66', }",
        "{'fortran_order': 0, }",
        "{'shape': (0), }",
        "{'shape': (,), }",
        "{'shape': (0 0), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (0,), } junk",
        "{,}",
    ] {
        assert!(is_syntax(parse_text(text, 0)), "{text}");
    }
}

#[test]
fn a_header_that_claims_to_be_huge_is_refused_before_it_is_read() {
    let mut bytes = b"\x93NUMPY\x02\x00".to_vec();
    bytes.extend(u32::MAX.to_le_bytes());
    let error = header_len(&bytes, u64::MAX).unwrap_err();
    assert!(matches!(error, NpyError::HeaderTooLong { .. }), "{error}");
}

proptest! {
    #[test]
    fn what_is_written_is_read(which in 0usize..14, shape in prop::collection::vec(0usize..50, 0..7)) {
        let dtype = DTYPES.get(which).cloned().unwrap_or(Dtype::void(24));
        let header = write(&dtype, &shape);
        let len = HEADER_BYTES + data_bytes(&shape, dtype.item_bytes()).unwrap();
        let read = parse(&header, len as u64).unwrap();
        prop_assert_eq!(read, Header { dtype, shape, data_offset: HEADER_BYTES });
    }

    #[test]
    fn the_longest_shapes_fit_the_header(shape in prop::collection::vec(any::<usize>(), 0..=64)) {
        prop_assert_eq!(write(&Dtype::void(usize::MAX), &shape)[HEADER_BYTES - 1], b'\n');
    }

    #[test]
    fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..300), len in any::<u64>()) {
        let _ = parse(&bytes, len);
        let mut with_magic = b"\x93NUMPY\x01\x00".to_vec();
        with_magic.extend(&bytes);
        let _ = parse_file(&with_magic);
    }

    #[test]
    fn any_text_in_the_dictionary_gives_an_answer(text in "[{}()',: a-z0-9<|=\\\\FT\"]{0,120}") {
        let _ = parse_text(&text, 8);
    }
}

#[test]
fn every_changed_byte_of_a_header_gives_an_answer_that_fits_the_file() {
    let bytes = file(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }", 96);
    for at in 0..bytes.len() - 96 {
        for value in 0..=255 {
            let mut changed = bytes.clone();
            changed[at] = value;
            if let Ok(header) = parse_file(&changed) {
                let data = data_bytes(&header.shape, header.dtype.item_bytes()).unwrap();
                assert_eq!(header.data_offset + data, bytes.len(), "byte {at} = {value}");
            }
        }
    }
}
