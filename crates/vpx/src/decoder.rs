//! The decoder: what tests and viewers see a stream with.

use std::ffi::c_int;
use std::ptr;

use vpx_sys::vpx_img_fmt::VPX_IMG_FMT_I420;
use vpx_sys::{
    VPX_DECODER_ABI_VERSION, vpx_codec_ctx_t, vpx_codec_dec_init_ver, vpx_codec_decode,
    vpx_codec_destroy, vpx_codec_get_frame, vpx_codec_vp8_dx, vpx_codec_vp9_dx, vpx_image_t,
};

use crate::{Codec, Error, check};

/// A decoded picture: planar YUV 4:2:0 without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Luma.
    pub y: Vec<u8>,
    /// Blue difference, half as wide and high (rounded up).
    pub u: Vec<u8>,
    /// Red difference.
    pub v: Vec<u8>,
}

/// A decoder.
pub struct Decoder {
    context: Box<vpx_codec_ctx_t>,
}

// SAFETY: as of the encoder.
unsafe impl Send for Decoder {}

impl Decoder {
    /// A decoder that waits for a keyframe.
    pub fn new(codec: Codec) -> Result<Self, Error> {
        let interface = match codec {
            // SAFETY: gives a pointer to a constant.
            Codec::Vp8 => unsafe { vpx_codec_vp8_dx() },
            // SAFETY: as above.
            Codec::Vp9 => unsafe { vpx_codec_vp9_dx() },
        };
        let mut context = Box::<vpx_codec_ctx_t>::default();
        // SAFETY: `context` is all zeros and stays where it is; without a configuration libvpx takes its own. The
        // version says which layout these structures have: another libvpx refuses.
        let code = unsafe {
            vpx_codec_dec_init_ver(
                &raw mut *context,
                interface,
                ptr::null(),
                0,
                VPX_DECODER_ABI_VERSION as c_int,
            )
        };
        check(code, Some(&mut context))?;
        Ok(Self { context })
    }

    /// Decodes one frame; some give no picture.
    pub fn decode(&mut self, frame: &[u8]) -> Result<Option<Picture>, Error> {
        let length = u32::try_from(frame.len()).map_err(|_| Error("too long".to_owned()))?;
        if length == 0 {
            // libvpx would take it for the end of the stream.
            return Err(Error("an empty frame".to_owned()));
        }
        // SAFETY: the context is initialised, and `frame` holds `length` bytes.
        let code = unsafe {
            vpx_codec_decode(
                &raw mut *self.context,
                frame.as_ptr(),
                length,
                ptr::null_mut(),
                0,
            )
        };
        check(code, Some(&mut self.context))?;
        let mut iterator = ptr::null();
        // SAFETY: the context is initialised, and the iterator began as null; the image lives until the next call with
        // this context.
        let image =
            unsafe { vpx_codec_get_frame(&raw mut *self.context, &raw mut iterator).as_ref() };
        image.map(copy).transpose()
    }
}

fn copy(image: &vpx_image_t) -> Result<Picture, Error> {
    if image.fmt != VPX_IMG_FMT_I420 {
        return Err(Error("not YUV 4:2:0 of 8 bits".to_owned()));
    }
    let (width, height) = (image.d_w as usize, image.d_h as usize);
    let plane = |at: usize, width: usize, height: usize| {
        let mut pixels = Vec::with_capacity(width * height);
        for row in 0..height {
            // SAFETY: a plane of `height` rows, `stride` apart, of at least `width` bytes each.
            pixels.extend_from_slice(unsafe {
                let start = image.planes[at].offset(row as isize * image.stride[at] as isize);
                std::slice::from_raw_parts(start, width)
            });
        }
        pixels
    };
    Ok(Picture {
        width,
        height,
        y: plane(0, width, height),
        u: plane(1, width.div_ceil(2), height.div_ceil(2)),
        v: plane(2, width.div_ceil(2), height.div_ceil(2)),
    })
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the context is initialised, and nobody uses it any more.
        unsafe {
            vpx_codec_destroy(&raw mut *self.context);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_frame_is_an_error() {
        for codec in [Codec::Vp8, Codec::Vp9] {
            let mut decoder = Decoder::new(codec).unwrap();
            for garbage in [
                &b""[..],
                b"no frame at all, but long enough for a header",
                &[0xff; 64],
            ] {
                assert!(!matches!(decoder.decode(garbage), Ok(Some(_))), "{codec:?}");
            }
        }
    }
}
