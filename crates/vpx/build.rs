//! Links libvpx statically where the system has it so (Debian's `libvpx-dev` does), so that the addon runs on a
//! machine without libvpx. `libvpx-native-sys` names the shared one, behind this: nothing is left to look for in it,
//! and the linker leaves it out (`--as-needed`).

use std::path::{Path, PathBuf};

const REMEDY: &str = "libvpx is needed for VP8 and VP9: install it with `sudo apt-get install libvpx-dev \
     pkg-config` (Debian, Ubuntu), `sudo dnf install libvpx-devel` (Fedora) or `brew install libvpx pkg-config` (macOS)";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let libvpx = pkg_config::Config::new()
        .atleast_version("1.8")
        .cargo_metadata(false)
        .env_metadata(false)
        .probe("vpx");
    if let Err(error) = libvpx {
        panic!("{REMEDY}\n{error}");
    }
    if let Some(folder) = folders().find(|folder| folder.join("libvpx.a").is_file()) {
        println!("cargo::rustc-link-search=native={}", folder.display());
        println!("cargo::rustc-link-lib=static=vpx");
    }
}

/// Where the library may be: Debian's `vpx.pc` says /usr/lib, and lies beside it in /usr/lib/x86_64-linux-gnu.
fn folders() -> impl Iterator<Item = PathBuf> {
    let variable = |name| pkg_config::get_variable("vpx", name).ok();
    let beside =
        variable("pcfiledir").and_then(|folder| Path::new(&folder).parent().map(Path::to_owned));
    beside
        .into_iter()
        .chain(variable("libdir").map(PathBuf::from))
}
