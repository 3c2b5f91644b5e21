//! What a live stream wants: each picture at once, one core, a steady rate. Close to what browsers' own senders ask of
//! libvpx (libwebrtc, `modules/video_coding/codecs/vp8` and `vp9`), but that no frame is dropped.

use std::ffi::c_int;

use vpx_sys::vp8e_enc_control_id::{self, *};
use vpx_sys::{
    AQ_MODE, vpx_codec_enc_cfg_t, vpx_color_space, vpx_kf_mode, vpx_rational, vpx_rc_mode,
};

use crate::{Codec, Settings};

/// Ticks a second of the times that pictures are given with.
pub(crate) const TICKS_A_SECOND: u32 = 90_000;

/// VP8's speed: beyond -8 the search gets coarser with every step. Measured at 512x512 (`encode_cost`).
const VP8_SPEED: c_int = -8;

/// VP9's speed.
const VP9_SPEED: c_int = 8;

/// Changes libvpx's defaults.
pub(crate) fn configure(config: &mut vpx_codec_enc_cfg_t, settings: &Settings) {
    config.g_w = settings.width;
    config.g_h = settings.height;
    config.g_timebase = vpx_rational {
        num: 1,
        den: TICKS_A_SECOND as c_int,
    };
    // Many systems share the machine: a core each is not there to be had.
    config.g_threads = 1;
    config.g_profile = 0;
    config.g_lag_in_frames = 0;
    // A viewer who missed something waits for a keyframe, which resets all that could have been lost.
    config.g_error_resilient = 0;
    // Keyframes come when they are asked for.
    config.kf_mode = vpx_kf_mode::VPX_KF_DISABLED;
    config.rc_end_usage = vpx_rc_mode::VPX_CBR;
    config.rc_target_bitrate = (settings.bitrate_bps / 1_000).max(1);
    config.rc_dropframe_thresh = 0;
    config.rc_resize_allowed = 0;
    config.rc_min_quantizer = 2;
    config.rc_max_quantizer = 56;
    config.rc_undershoot_pct = 100;
    config.rc_overshoot_pct = 15;
    // Of the rate, in ms.
    config.rc_buf_initial_sz = 500;
    config.rc_buf_optimal_sz = 600;
    config.rc_buf_sz = 1_000;
}

/// What is set once the encoder exists.
pub(crate) fn controls(settings: &Settings) -> Vec<(vp8e_enc_control_id, c_int)> {
    // A keyframe may take half of the optimal buffer (300 ms): in percent of a frame's share of the rate.
    let keyframe_percent = (300 * settings.fps / 10).clamp(300, 2_000) as c_int;
    let mut controls = vec![
        (VP8E_SET_STATIC_THRESHOLD, 1),
        (VP8E_SET_MAX_INTRA_BITRATE_PCT, keyframe_percent),
    ];
    match settings.codec {
        Codec::Vp8 => controls.extend([
            (VP8E_SET_CPUUSED, VP8_SPEED),
            (VP8E_SET_NOISE_SENSITIVITY, 0),
            (VP8E_SET_TOKEN_PARTITIONS, 0),
        ]),
        Codec::Vp9 => controls.extend([
            (VP8E_SET_CPUUSED, VP9_SPEED),
            (VP9E_SET_AQ_MODE, AQ_MODE::CYCLIC_REFRESH_AQ as c_int),
            (VP9E_SET_NOISE_SENSITIVITY, 0),
            (VP9E_SET_FRAME_PARALLEL_DECODING, 0),
            (VP9E_SET_TILE_COLUMNS, 0),
            (VP9E_SET_GF_CBR_BOOST_PCT, 0),
            (
                VP9E_SET_COLOR_SPACE,
                vpx_color_space::VPX_CS_BT_601 as c_int,
            ),
        ]),
    }
    controls
}
