//! The video encoder: one thread, one latest-frame slot, one keyframe policy.
