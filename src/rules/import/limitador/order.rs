//! In which order the entries of each descriptor stand.
//!
//! limitador knows no order, so it is ours to choose, and it matters: descriptors that begin alike share levels. Where
//! a limit counts the values of an entry together without naming them (`path.startsWith(...)`, `method != ...`), each
//! value that another limit names on the same level takes a part of its counter away. So such entries stand on levels
//! of their own, as far as there is a choice.

use std::collections::{HashMap, HashSet};

/// A set of entries that limits are about.
#[derive(Debug)]
pub(super) struct Shape {
    /// In the order of writing.
    pub(super) keys: Vec<String>,
    /// Those whose values some limit counts together without naming them.
    pub(super) together: HashSet<String>,
}

/// Puts the keys of each shape in order.
pub(super) fn put_in_order(shapes: &mut [Shape]) {
    // The smaller a shape, the less choice it has.
    let mut by_size: Vec<&mut Shape> = shapes.iter_mut().collect();
    by_size.sort_by_key(|shape| shape.keys.len());
    // Every level that a shape uses, by the keys down to it, and whether some limit counts together there.
    let mut levels: HashMap<Vec<String>, bool> = HashMap::new();
    for Shape { keys, together } in by_size {
        let mut rest = std::mem::take(keys);
        while !rest.is_empty() {
            let trouble = |key: &String| {
                let mut level = keys.clone();
                level.push(key.clone());
                let own = together.contains(key);
                let meets = levels.get(&level).is_some_and(|counts_together| own || *counts_together);
                (meets, own)
            };
            let best = (0..rest.len()).min_by_key(|&place| trouble(&rest[place])).unwrap_or(0);
            keys.push(rest.remove(best));
        }
        for (depth, key) in keys.iter().enumerate() {
            *levels.entry(keys[..=depth].to_vec()).or_default() |= together.contains(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(shapes: &[(&str, &str)]) -> Vec<String> {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let shape = |(keys, together): &(&str, &str)| Shape {
            keys: words(keys),
            together: words(together).into_iter().collect(),
        };
        let mut shapes: Vec<Shape> = shapes.iter().map(shape).collect();
        put_in_order(&mut shapes);
        shapes.into_iter().map(|shape| shape.keys.join(" ")).collect()
    }

    #[test]
    fn levels_that_count_together_are_left_alone() {
        assert_eq!(order(&[("b a", "")]), ["b a"], "without a reason it stays as it was written");
        assert_eq!(order(&[("path", "path"), ("path user", "")]), ["path", "user path"]);
        assert_eq!(order(&[("path user", ""), ("path", "path")]), ["user path", "path"]);
        assert_eq!(order(&[("method user", "method")]), ["user method"]);
        assert_eq!(
            order(&[("user", ""), ("method user", "method"), ("method path user", ""), ("path", "path")]),
            ["user", "user method", "method path user", "path"]
        );
        assert_eq!(order(&[("a", "a"), ("b", "b"), ("a b", "")]), ["a", "b", "a b"], "there is no choice");
    }
}
