//! The generated code is checked in, so that nobody needs a protobuf compiler to build. This test
//! makes it anew from the .proto file and compares; run it with `UPDATE_GENERATED=1` to accept.

use std::{error::Error, path::Path};

#[test]
fn generated_code_is_that_of_the_proto_file() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let include = root.join("proto");
    let descriptors = protox::compile(["cleanroom/v1/cleanroom.proto"], [&include])?;
    let out = tempfile::tempdir()?;
    tonic_prost_build::configure()
        .out_dir(out.path())
        .bytes(".cleanroom.v1.Chunk.data")
        .btree_map(".cleanroom.v1.ItemHeader.labels")
        .compile_fds(descriptors)?;
    let fresh = std::fs::read_to_string(out.path().join("cleanroom.v1.rs"))?;
    let kept = root.join("src/generated/cleanroom.v1.rs");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&kept, &fresh)?;
    }
    assert!(
        fresh == std::fs::read_to_string(&kept)?,
        "src/generated is not what proto/ says: UPDATE_GENERATED=1 cargo test -p cleanroom-wire"
    );
    Ok(())
}
