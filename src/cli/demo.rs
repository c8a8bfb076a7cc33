//! demo
use super::{Context, Exit};
use clap::Args;
/// demo
#[derive(Debug, Args)]
pub(super) struct Arguments {}
pub(super) fn demo(_: &Arguments, _: &Context) -> anyhow::Result<Exit> {
    Ok(Exit::Done)
}
