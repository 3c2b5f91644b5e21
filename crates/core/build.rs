//! openh264 and libjpeg-turbo have their speed from assembler. Without nasm openh264's build falls back
//! to C without a word, and every frame costs two to three times as much: a release must not.

use std::env;
use std::path::Path;

const REMEDY: &str = "nasm is needed to build the video encoder with its assembler code: install it with \
     `sudo apt-get install nasm` (Debian, Ubuntu), `sudo dnf install nasm` (Fedora), `brew install nasm` \
     (macOS) or `winget install nasm` (Windows), and see that it is in PATH";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let uses_nasm = matches!(target.as_str(), "x86" | "x86_64");
    if !uses_nasm || nasm_in_path() {
        return;
    }
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        panic!("{REMEDY}");
    }
    println!("cargo::warning={REMEDY}");
}

fn nasm_in_path() -> bool {
    let name = format!("nasm{}", env::consts::EXE_SUFFIX);
    env::var_os("PATH").is_some_and(|path| {
        env::split_paths(&path).any(|folder| Path::new(&folder).join(&name).is_file())
    })
}
