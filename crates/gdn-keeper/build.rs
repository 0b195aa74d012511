//! Compiles `garden-init`, which is embedded in the program, and its form for external runtimes.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=src/garden_init.rs");
    println!("cargo:rerun-if-changed=build.rs");
    compile("garden-init", &[]);
    compile("garden-init-of-runtime", &["--cfg", "of_runtime"]);
}

fn compile(name: &str, form: &[&str]) {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join(name);
    let target = std::env::var("TARGET").expect("cargo sets TARGET");
    let rustc = std::env::var_os("RUSTC").expect("cargo sets RUSTC");
    let status = Command::new(rustc)
        .args([
            "--edition",
            "2021",
            "--crate-type",
            "bin",
            "--crate-name",
            "garden_init",
            "--target",
            &target,
        ])
        .args([
            "-C",
            "panic=abort",
            "-C",
            "opt-level=s",
            "-C",
            "relocation-model=static",
            "-C",
            "strip=symbols",
        ])
        .args(["-C", "link-arg=-nostartfiles", "-C", "link-arg=-static", "-C", "link-arg=-nostdlib"])
        // One segment, page-aligned as little as possible: the whole program is one or two pages.
        .args(["-C", "link-arg=-Wl,-n", "-C", "link-arg=-Wl,--build-id=none"])
        .args(form)
        .arg("src/garden_init.rs")
        .arg("-o")
        .arg(&out)
        .status()
        .expect("rustc starts");
    assert!(status.success(), "garden-init does not compile");
}
