//! Settings: raw layers in, validated `Settings` out.
