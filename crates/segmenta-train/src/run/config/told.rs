//! What is wrong with a configuration's text, in words of its keys.

use std::ops::Range;

use super::{EXPLAINED, RunError};

/// An error of a configuration: of the key whose value is wrong, or of the whole `origin`.
pub(super) fn wrong(error: &toml::de::Error, text: &str, origin: &str) -> RunError {
    let key = error
        .span()
        .and_then(|span| key_at(text, span, value_in(error.message())));
    let is_value = error.message().starts_with("invalid ");
    RunError::Config {
        origin: key.filter(|_| is_value).unwrap_or_else(|| origin.into()),
        problem: message(error),
    }
}

/// Keys of other libraries, and what they are called here.
const MEANT: [(&str, &str); 32] = [
    ("batch_size", "`train.batch`"),
    ("bs", "`train.batch`"),
    ("num_epochs", "`train.epochs`"),
    ("max_epochs", "`train.epochs`"),
    ("n_epochs", "`train.epochs`"),
    ("learning_rate", "`optimizer.lr`"),
    ("lr0", "`optimizer.lr`"),
    ("base_lr", "`optimizer.lr`"),
    ("optim", "`optimizer`"),
    ("image_size", "`input.size` (width, height)"),
    ("img_size", "`input.size` (width, height)"),
    ("imgsz", "`input.size` (width, height)"),
    ("resize", "`input.size` (width, height)"),
    ("num_classes", "`model.classes`"),
    ("backbone", "`model.encoder`"),
    ("encoder_name", "`model.encoder`"),
    ("architecture", "`model.arch`"),
    ("network", "`model.arch`"),
    (
        "pretrained",
        "`model.encoder_weights`, of the whole network `model.weights`",
    ),
    ("checkpoint", "`model.weights`"),
    ("criterion", "`loss`"),
    ("scheduler", "`schedule`"),
    ("lr_scheduler", "`schedule`"),
    ("transforms", "`augment`"),
    ("augmentations", "`augment`"),
    ("patience", "`train.early_stop`"),
    ("early_stopping", "`train.early_stop`"),
    ("metric", "`train.score`"),
    ("monitor", "`train.score`"),
    ("num_workers", "`data.workers`"),
    ("ignore_index", "`data.ignore`"),
    (
        "val_split",
        "`data.train_share`, the share that is learned from",
    ),
];

/// What is wrong, in a line, with the nearest key to one that is not known.
pub(super) fn message(error: &toml::de::Error) -> String {
    let text = error.message().to_string();
    let quoted = |text: &str| -> Vec<String> {
        text.split('`').skip(1).step_by(2).map(Into::into).collect()
    };
    let names = quoted(&text);
    if let [unknown, known @ ..] = &names[..]
        && text.starts_with("unknown field")
    {
        if let Some(ours) = MEANT
            .iter()
            .find(|(theirs, _)| theirs == unknown)
            .map(|(_, ours)| ours)
        {
            return format!(
                "there is no key `{unknown}`; here it is {ours} · `segmenta train --explain` lists all"
            );
        }
        // Sections with parts of their own do not list their keys, and a key may be right in another section.
        let mut section = String::new();
        let explained = EXPLAINED.lines().filter_map(|line| {
            let line = line.trim_start_matches("# ");
            if let Some((name, _)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
                section = format!("{}.", name.trim_matches('['));
            }
            let key = line.split_once(" = ")?.0;
            key.chars()
                .all(|c| c.is_ascii_lowercase() || c == '_')
                .then(|| format!("{section}{key}"))
        });
        // Of names as near as each other the last counts: one of this very section, where it lists its keys.
        let all = explained.chain(known.iter().cloned());
        let likeness =
            |name: &String| strsim::jaro_winkler(unknown, name.rsplit('.').next().unwrap_or(name));
        let nearest = all.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        if let Some(nearest) = nearest {
            return format!(
                "there is no key `{unknown}`; did you mean `{nearest}`? `segmenta train --explain` lists all"
            );
        }
    }
    segmenta_files::of_type(&text.replace('\n', " "))
}

/// The value that a message speaks of, as a configuration's text has it.
fn value_in(message: &str) -> Option<&str> {
    let told = message.strip_prefix("invalid ")?.split_once(": ")?.1;
    let value = told.split_once(", expected")?.0;
    match value.split_once(' ') {
        Some(("string", text)) => Some(text),
        _ => Some(value.rsplit_once('`')?.0.rsplit_once('`')?.1),
    }
}

/// The key, with its section, whose value lies at `span` of a configuration's text. Where the span is a whole section,
/// the key in it that has the value, or else the section.
fn key_at(text: &str, span: Range<usize>, value: Option<&str>) -> Option<String> {
    let before = text.get(..span.start)?;
    let rest = &text[before.rfind('\n').map_or(0, |at| at + 1)..];
    let header = |line: &str| {
        let name = line.trim().strip_prefix('[')?.strip_suffix(']')?;
        Some(name.trim_matches(['[', ']']).to_owned())
    };
    let mut lines = rest.lines();
    let line = lines.next()?;
    if let Some(section) = header(line) {
        let own = lines.take_while(|line| header(line).is_none());
        let mut pairs = own.filter_map(|line| line.split_once('='));
        let found = pairs.find(|(_, is)| value.is_some_and(|value| is.contains(value)));
        return Some(match found {
            Some((name, _)) => format!("{section}.{}", name.trim()),
            None => section,
        });
    }
    let name = line.split_once('=')?.0.trim();
    match before.lines().rev().find_map(header) {
        Some(section) => Some(format!("{section}.{name}")),
        None => Some(name.into()),
    }
}

#[cfg(test)]
mod tests {
    use crate::run::Config;

    #[test]
    fn a_key_of_another_section_is_told_with_its_section() {
        for (setting, meant) in [
            ("epochs=3", "`train.epochs`"),
            ("model.epochs=3", "`train.epochs`"),
            ("train.epoch=3", "`train.epochs`"),
            ("lr=0.1", "`optimizer.lr`"),
        ] {
            let error = Config::parse("", &[setting.into()], "my.toml").expect_err(setting);
            let text = error.to_string();
            assert!(
                text.contains(&format!("did you mean {meant}")),
                "{setting}: {text}"
            );
        }
    }

    /// A value of another type, whichever part of a section it is in: the key, and the message on one line.
    #[test]
    fn what_is_of_another_type_is_told_by_its_key() {
        for (setting, key) in [
            ("loss={name=\"focal\",gamma=\"two\"}", "loss.gamma"),
            ("schedule={name=\"poly\",power=\"x\"}", "schedule.power"),
            (
                "optimizer={name=\"adam\",betas=[\"a\",1]}",
                "optimizer.betas",
            ),
            (
                "augment=[{name=\"color_jitter\",brightness=\"x\"}]",
                "augment",
            ),
            ("loss={name=\"bce_with_logits\",pos_weight=\"x\"}", "loss"),
        ] {
            let error = Config::parse("", &[setting.into()], "my.toml").expect_err(setting);
            let text = error.to_string();
            let place = text.rsplit(" · ").next();
            assert!(
                place.is_some_and(|place| place.starts_with(key)),
                "{setting}: {text}"
            );
            assert!(!text.contains('\n') && !text.contains("untagged"), "{text}");
        }
    }

    #[test]
    fn other_libraries_words_are_answered_with_ours() {
        for (setting, ours) in [
            ("train.batch_size=4", "`train.batch`"),
            ("model.backbone=resnet18", "`model.encoder`"),
            ("learning_rate=0.1", "`optimizer.lr`"),
            ("data.val_split=0.2", "`data.train_share`"),
        ] {
            let error = Config::parse("", &[setting.into()], "my.toml").expect_err(setting);
            assert!(error.to_string().contains(ours), "{error}");
        }
    }
}
