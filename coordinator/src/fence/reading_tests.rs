use super::*;

#[test]
fn a_host_tells_its_files_with_their_sizes_and_what_is_wrong_with_them() {
    let printed = b"list /var/lib/mysql/bin.index\nup 4711\nmissing /var/lib/mysql/bin.000001\n\
        refused /var/lib/mysql/bin.000002\nfile 1024 1790000000 /var/lib/my sql/bin.000003\nlisted\n";
    let listing = listing(printed).unwrap();
    assert_eq!((listing.list.as_str(), listing.up), ("/var/lib/mysql/bin.index", Duration::from_secs(4711)));
    let states: Vec<State> = listing.files.iter().map(|file| file.state.clone()).collect();
    let there = State::There { size: 1024, changed: "1790000000".to_owned() };
    assert_eq!(states, [State::Missing, State::Refused, there]);
    assert_eq!(listing.files[2].path, "/var/lib/my sql/bin.000003");
}

#[test]
fn what_a_host_prints_otherwise_is_not_believed() {
    for printed in
        ["", "list /a\nlisted\n", "list /a\nup x\nlisted\n", "list /a\nup 1\nfile 12\nlisted\n", "list /a\nwell\n"]
    {
        assert!(listing(printed.as_bytes()).is_none(), "{printed:?}");
    }
    assert!(listing(b"list /\xff\nup 1\nlisted\n").is_none());
}
