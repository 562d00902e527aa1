//! Tasuki's coordinator: subscribes, decides, commands, and feeds viewers.

pub mod control;
pub mod driver;
mod errands;
pub mod feed;
pub mod fence;
pub mod http;
pub mod planned;
pub mod start;
pub mod wishes;
