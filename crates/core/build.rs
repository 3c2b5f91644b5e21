//! Embeds the browser pages, and sees that there is nasm: openh264 and libjpeg-turbo have their speed from assembler. Without nasm openh264's build falls back
//! to C without a word, and every frame costs two to three times as much: a release must not.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

const REMEDY: &str = "nasm is needed to build the video encoder with its assembler code: install it with \
     `sudo apt-get install nasm` (Debian, Ubuntu), `sudo dnf install nasm` (Fedora), `brew install nasm` \
     (macOS) or `winget install nasm` (Windows), and see that it is in PATH";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Err(error) = embed_web() {
        panic!("the browser pages in web/ cannot be embedded: {error}");
    }
    let target = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let uses_nasm = matches!(target.as_str(), "x86" | "x86_64");
    let has_assembler = !uses_nasm || nasm_in_path();
    let answer = if has_assembler { "yes" } else { "no" };
    println!("cargo::rustc-env=AVATAR_ASSEMBLER={answer}");
    if has_assembler {
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

/// Writes `web_files.rs`: each file of web/, by the path that it is served at.
fn embed_web() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let web = root.join("../../web").canonicalize()?;
    let mut files = Vec::new();
    list(&web, &mut files)?;
    files.sort();
    let mut text = "/// Path and content.\nconst FILES: &[(&str, &[u8])] = &[\n".to_owned();
    for file in files {
        let path = file.strip_prefix(&web).map_err(io::Error::other)?;
        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
        let url = format!("/{}", parts.join("/"));
        text += &format!("    ({url:?}, include_bytes!({file:?})),\n");
    }
    text += "];\n";
    let target = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(target.join("web_files.rs"), text)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if matches!(
            path.extension().and_then(|e| e.to_str()),
            Some("html" | "js" | "css")
        ) {
            files.push(path);
        }
    }
    Ok(())
}
