//! The encoder.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;

use vpx_sys::vpx_codec_cx_pkt_kind::VPX_CODEC_CX_FRAME_PKT;
use vpx_sys::vpx_img_fmt::VPX_IMG_FMT_I420;
use vpx_sys::{
    VPX_DL_REALTIME, VPX_EFLAG_FORCE_KF, VPX_ENCODER_ABI_VERSION, VPX_FRAME_IS_KEY,
    vpx_codec_control_, vpx_codec_ctx_t, vpx_codec_destroy, vpx_codec_enc_cfg_t,
    vpx_codec_enc_config_default, vpx_codec_enc_init_ver, vpx_codec_encode, vpx_codec_get_cx_data,
    vpx_codec_vp8_cx, vpx_codec_vp9_cx, vpx_image_t, vpx_img_wrap,
};

use crate::realtime::{self, TICKS_A_SECOND};
use crate::{Codec, Error, check};

/// What an encoder is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Which codec.
    pub codec: Codec,
    /// Pixels a row, 1 to 16,383.
    pub width: u32,
    /// Rows, 1 to 16,383.
    pub height: u32,
    /// Pictures a second, about.
    pub fps: u32,
    /// The rate to hold, in bits a second.
    pub bitrate_bps: u32,
}

/// A planar YUV 4:2:0 picture, 8 bits; chroma planes have half the width and height, rounded up.
#[derive(Debug, Clone, Copy)]
pub struct Planes<'a> {
    /// Luma.
    pub y: &'a [u8],
    /// Blue difference.
    pub u: &'a [u8],
    /// Red difference.
    pub v: &'a [u8],
    /// Bytes from row to row of each.
    pub strides: (usize, usize, usize),
}

/// What a picture became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// A decoder can begin here.
    Key,
    /// It needs the frames before.
    Inter,
    /// Nothing: the encoder left it out.
    None,
}

/// An encoder. Its first frame is a keyframe.
pub struct Encoder {
    context: Box<vpx_codec_ctx_t>,
    settings: Settings,
}

// SAFETY: libvpx keeps nothing of a context in thread-local or global state, and `&mut self` keeps it to one thread
// at a time.
unsafe impl Send for Encoder {}

impl Encoder {
    /// An encoder of `settings`.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let interface = match settings.codec {
            // SAFETY: gives a pointer to a constant.
            Codec::Vp8 => unsafe { vpx_codec_vp8_cx() },
            // SAFETY: as above.
            Codec::Vp9 => unsafe { vpx_codec_vp9_cx() },
        };
        let mut config = MaybeUninit::<vpx_codec_enc_cfg_t>::uninit();
        // SAFETY: writes the whole configuration unless it fails; 0 is the only usage there is.
        let code = unsafe { vpx_codec_enc_config_default(interface, config.as_mut_ptr(), 0) };
        check(code, None)?;
        // SAFETY: it did not fail.
        let mut config = unsafe { config.assume_init() };
        realtime::configure(&mut config, &settings);

        let mut context = Box::<vpx_codec_ctx_t>::default();
        // SAFETY: `context` is all zeros and stays where it is; `config` is copied. The version says which layout these
        // structures have: another libvpx refuses.
        let code = unsafe {
            vpx_codec_enc_init_ver(
                &raw mut *context,
                interface,
                &raw const config,
                0,
                VPX_ENCODER_ABI_VERSION as c_int,
            )
        };
        // A context whose initialisation failed is destroyed by libvpx itself.
        check(code, Some(&mut context))?;
        let mut encoder = Self { context, settings };
        for (control, value) in realtime::controls(&settings) {
            // SAFETY: the context is initialised, and each of these controls takes one `int`.
            let code =
                unsafe { vpx_codec_control_(&raw mut *encoder.context, control as c_int, value) };
            check(code, Some(&mut encoder.context))?;
        }
        Ok(encoder)
    }

    /// Encodes a picture of the size that was set, and appends the frame to `out`. `ticks` (90 kHz) must rise.
    pub fn encode(
        &mut self,
        picture: Planes<'_>,
        ticks: i64,
        force_keyframe: bool,
        out: &mut Vec<u8>,
    ) -> Result<Frame, Error> {
        let image = self.image(picture)?;
        let duration = TICKS_A_SECOND / self.settings.fps.max(1);
        let flags = if force_keyframe {
            VPX_EFLAG_FORCE_KF
        } else {
            0
        };
        // SAFETY: the context is initialised; the planes are as large as `image` says and are only read, during the
        // call alone, since nothing lags.
        let code = unsafe {
            vpx_codec_encode(
                &raw mut *self.context,
                &raw const image,
                ticks,
                duration.max(1).into(),
                flags.into(),
                VPX_DL_REALTIME.into(),
            )
        };
        check(code, Some(&mut self.context))?;
        let mut frame = Frame::None;
        let mut iterator = ptr::null();
        loop {
            // SAFETY: the context is initialised, and the iterator began as null; what is pointed to lives until the
            // next call with this context.
            let packet = unsafe {
                vpx_codec_get_cx_data(&raw mut *self.context, &raw mut iterator).as_ref()
            };
            let Some(packet) = packet else {
                return Ok(frame);
            };
            if packet.kind != VPX_CODEC_CX_FRAME_PKT {
                continue;
            }
            // SAFETY: this kind says which part of the union was written.
            let data = unsafe { packet.data.frame };
            // SAFETY: `buf` holds `sz` bytes.
            out.extend_from_slice(unsafe {
                std::slice::from_raw_parts(data.buf.cast::<u8>(), data.sz as usize)
            });
            frame = match data.flags & VPX_FRAME_IS_KEY {
                0 => Frame::Inter,
                _ => Frame::Key,
            };
        }
    }

    /// What libvpx takes a picture as.
    fn image(&self, picture: Planes<'_>) -> Result<vpx_image_t, Error> {
        let Settings { width, height, .. } = self.settings;
        let (columns, rows) = (width as usize, height as usize);
        let (y_stride, u_stride, v_stride) = picture.strides;
        let planes = [
            (picture.y, y_stride, columns, rows),
            (picture.u, u_stride, columns.div_ceil(2), rows.div_ceil(2)),
            (picture.v, v_stride, columns.div_ceil(2), rows.div_ceil(2)),
        ];
        let holds = |&(plane, stride, columns, rows): &(&[u8], usize, usize, usize)| {
            stride >= columns && plane.len() >= stride * (rows - 1) + columns
        };
        if !planes.iter().all(holds) {
            return Err(Error(format!("the picture is no {width}x{height}")));
        }
        let mut image = MaybeUninit::<vpx_image_t>::zeroed();
        // SAFETY: writes the whole image, and does not look at the data.
        let wrapped = unsafe {
            vpx_img_wrap(
                image.as_mut_ptr(),
                VPX_IMG_FMT_I420,
                width,
                height,
                1,
                picture.y.as_ptr().cast_mut(),
            )
        };
        if wrapped.is_null() {
            return Err(Error(format!("{width}x{height} is no size of a picture")));
        }
        // SAFETY: it was written.
        let mut image = unsafe { image.assume_init() };
        for (at, (plane, stride, _, _)) in planes.into_iter().enumerate() {
            image.planes[at] = plane.as_ptr().cast_mut();
            image.stride[at] = stride as c_int;
        }
        Ok(image)
    }
}

impl Drop for Encoder {
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
    use crate::{Decoder, Picture};

    const WIDTH: u32 = 322;
    const HEIGHT: u32 = 242;

    /// A gradient that drifts.
    fn picture(n: usize) -> Picture {
        let (width, height) = (WIDTH as usize, HEIGHT as usize);
        let plane = |width: usize, height: usize, slope: usize| {
            (0..width * height)
                .map(|at| 40 + ((at % width + at / width * 2 + n * 3) / slope % 160) as u8)
                .collect()
        };
        Picture {
            width,
            height,
            y: plane(width, height, 3),
            u: plane(width / 2, height / 2, 5),
            v: plane(width / 2, height / 2, 7),
        }
    }

    fn planes(picture: &Picture) -> Planes<'_> {
        Planes {
            y: &picture.y,
            u: &picture.u,
            v: &picture.v,
            strides: (picture.width, picture.width / 2, picture.width / 2),
        }
    }

    fn psnr(a: &[u8], b: &[u8]) -> f64 {
        assert_eq!(a.len(), b.len());
        let squares: f64 = (a.iter().zip(b))
            .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
            .sum();
        10.0 * (255.0f64.powi(2) * a.len() as f64 / squares.max(1e-9)).log10()
    }

    fn settings(codec: Codec) -> Settings {
        Settings {
            codec,
            width: WIDTH,
            height: HEIGHT,
            fps: 30,
            bitrate_bps: 800_000,
        }
    }

    #[test]
    fn every_picture_is_decoded_as_it_was_and_keyframes_come_when_they_are_asked_for() {
        for codec in [Codec::Vp8, Codec::Vp9] {
            let mut encoder = Encoder::new(settings(codec)).unwrap();
            let mut decoder = Decoder::new(codec).unwrap();
            let mut bytes = 0;
            for n in 0..150 {
                let picture = picture(n);
                let mut data = Vec::new();
                let frame = encoder.encode(planes(&picture), n as i64 * 3_000, n == 70, &mut data);
                let expected = if n == 0 || n == 70 {
                    Frame::Key
                } else {
                    Frame::Inter
                };
                assert_eq!(frame, Ok(expected), "{codec:?}, picture {n}");
                bytes += data.len();
                let decoded = decoder.decode(&data).unwrap().unwrap();
                assert_eq!(
                    (decoded.width, decoded.height),
                    (picture.width, picture.height)
                );
                let noise = [
                    psnr(&decoded.y, &picture.y),
                    psnr(&decoded.u, &picture.u),
                    psnr(&decoded.v, &picture.v),
                ];
                assert!(
                    noise.iter().all(|db| *db > 28.0),
                    "{codec:?}, {n}: {noise:?} dB"
                );
            }
            let rate = bytes as f64 * 8.0 / 5.0;
            assert!(rate < 800_000.0 * 1.2, "{codec:?}: {rate} b/s");
        }
    }

    #[test]
    fn a_picture_that_is_too_small_is_refused() {
        let mut encoder = Encoder::new(settings(Codec::Vp8)).unwrap();
        let mut small = picture(0);
        small.v.pop();
        let error = encoder.encode(planes(&small), 0, false, &mut Vec::new());
        assert!(error.unwrap_err().to_string().contains("322x242"));
    }

    #[test]
    fn a_size_that_libvpx_cannot_encode_is_an_error() {
        for (width, height) in [(0, 10), (20_000, 10)] {
            let impossible = Settings {
                width,
                height,
                ..settings(Codec::Vp8)
            };
            assert!(Encoder::new(impossible).is_err());
        }
    }
}
