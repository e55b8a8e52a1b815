//! Shell completions and manual pages, made from the parser itself so that they stay true.

use super::EXIT_COMPLETE;
use crate::failure::Failure;
use clap::{Args, Command};
use clap_complete::Shell;
use std::{fs, path::PathBuf};

/// `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder to write the pages into
    folder: PathBuf,
}

/// Prints completions.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> Result<u8, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "cleanroom", &mut text);
    super::print(String::from_utf8_lossy(&text));
    Ok(EXIT_COMPLETE)
}

/// Writes a page per command.
pub fn man(args: &ManArgs, command: Command) -> Result<u8, Failure> {
    fs::create_dir_all(&args.folder)?;
    clap_mangen::generate_to(command, &args.folder)?;
    Ok(EXIT_COMPLETE)
}
