//! VP8 (RFC 6386) and VP9 by libvpx: one picture in, one frame out at once, keyframes only when they are asked for.
//!
//! | file | owns |
//! | --- | --- |
//! | `encoder` | an encoder, and the only way to its C |
//! | `decoder` | a decoder, and the only way to its C |
//! | `realtime` | what a live stream wants of each codec |

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")
)]

mod decoder;
mod encoder;
mod realtime;

use std::ffi::CStr;

use vpx_sys::{vpx_codec_ctx_t, vpx_codec_err_t, vpx_codec_err_to_string, vpx_codec_error_detail};

pub use decoder::{Decoder, Picture};
pub use encoder::{Encoder, Frame, Planes, Settings};

/// Which of libvpx's codecs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// VP8.
    Vp8,
    /// VP9, profile 0.
    Vp9,
}

/// What libvpx says when it cannot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("libvpx: {0}")]
pub struct Error(String);

/// `Err` unless `code` says that all is well; `context` may know more.
fn check(code: vpx_codec_err_t, context: Option<&mut vpx_codec_ctx_t>) -> Result<(), Error> {
    if code == vpx_codec_err_t::VPX_CODEC_OK {
        return Ok(());
    }
    // SAFETY: gives a pointer to a constant text for every code.
    let mut text = unsafe { text(vpx_codec_err_to_string(code)) }.unwrap_or_default();
    // SAFETY: `context` was given to an `init` function, which also sets what this reads if it fails.
    let detail = context.and_then(|context| unsafe { self::text(vpx_codec_error_detail(context)) });
    if let Some(detail) = detail {
        text = format!("{text}: {detail}");
    }
    Err(Error(text))
}

/// # Safety
/// `pointer` is null or leads to a text that ends with a zero, and lives during the call.
unsafe fn text(pointer: *const std::ffi::c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: not null, and the caller promises the rest.
    let text = unsafe { CStr::from_ptr(pointer) };
    Some(text.to_string_lossy().into_owned())
}
