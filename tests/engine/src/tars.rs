//! Tars that tests make and read.

use std::io::{Cursor, Read};

use tar::{Archive, Builder, Header};

/// A version 2 capability in an extended attribute: CAP_NET_BIND_SERVICE, permitted and effective. capabilities(7).
pub const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Appends a file. It belongs to nobody whom the file will belong to.
pub fn append(builder: &mut Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(77);
    header.set_gid(77);
    builder.append_data(&mut header, name, content).unwrap();
}

/// Appends the file `capable`, which has [`CAPABILITY`].
pub fn append_capable(builder: &mut Builder<Vec<u8>>) {
    builder.append_pax_extensions([("SCHILY.xattr.security.capability", &CAPABILITY[..])]).unwrap();
    append(builder, "capable", b"x");
}

/// A tar of one file with this content.
pub fn of_file(name: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    append(&mut builder, name, content);
    builder.into_inner().unwrap()
}

/// Names and contents of what is in a tar.
pub fn entries(tar: Vec<u8>) -> Vec<(String, String)> {
    let mut archive = Archive::new(Cursor::new(tar));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        (name, content)
    });
    entries.collect()
}
