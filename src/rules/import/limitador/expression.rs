//! The expressions of limits, as far as rules can say them.
//!
//! They are CEL, of which limits use a corner: comparisons of one entry with literals, joined by `&&`. That corner is
//! read here; anything else is named by what it is. A CEL library would also evaluate expressions, but what is asked
//! here is not what one evaluates to: it is whether a descriptor path says the same.

use crate::core::ruleset::MAX_DEPTH;

use super::values::{Glob, Test};

/// An entry of a descriptor of the request: `descriptors[0].key`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// Counts from 0.
    pub(super) descriptor: u32,
    pub(super) key: String,
}

/// What must hold of one entry. In limitador, an entry that is not there makes it false, negated or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) place: Place,
    pub(super) test: Test,
    pub(super) negated: bool,
}

/// Why an expression has no equivalent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsaid {
    #[error("'||' has no equivalent, because all entries of a rule must match; write a limit for each side")]
    Or,
    #[error("the negation of several conditions has no equivalent; negate each, and write a limit for each")]
    NegatedAnd,
    #[error("it is worked out at each request, and rules only compare entries with texts; Envoy can send its result")]
    Computed,
    #[error(
        "'{0}' is known to limitador 1 only, and never true in limitador 2; write descriptors[0].{0}, if that is meant"
    )]
    Unbound(String),
    #[error("'limit' is about the limit itself; leave the condition out if it is true, else the limit")]
    AboutLimit,
    #[error("both sides of a comparison must be one entry and one text in quotation marks")]
    Operands,
    #[error("the regular expression is more than '*' can say; Envoy can send its result as an entry instead")]
    Regex,
    #[error("an empty value cannot be told from others by a rule")]
    EmptyValue,
    #[error("a '*' in a rule stands for any text, never for itself")]
    Star,
    #[error("the key of an entry is not empty, and has no '*'")]
    Key,
    #[error("it cannot be read as an expression: {0}")]
    Syntax(&'static str),
}

/// Reads a condition: what must hold, all of it.
pub(super) fn conditions(text: &str) -> Result<Vec<Condition>, Unsaid> {
    let mut parser = Parser::new(text)?;
    let conditions = parser.all_of(0)?;
    parser.end()?;
    Ok(conditions)
}

/// Reads a variable: the entry whose values are counted apart.
pub(super) fn variable(text: &str) -> Result<Place, Unsaid> {
    let mut parser = Parser::new(text)?;
    let Operand::Entry(place) = parser.operand()? else {
        return Err(Unsaid::Computed);
    };
    match parser.peek() {
        None => Ok(place),
        Some(_) => Err(Unsaid::Computed),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    Text(String),
    Number(String),
    Sign(&'static str),
}

enum Operand {
    Entry(Place),
    /// An entry, and what a method asks of it.
    Asked(Place, Test),
    Text(String),
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
}

/// Two-character signs first.
const SIGNS: [&str; 23] = [
    "==", "!=", "&&", "||", "<=", ">=", "(", ")", "[", "]", ".", ",", "!", "<", ">", "?", ":", "+", "-", "*", "/", "%",
    "{",
];

impl Parser {
    fn new(source: &str) -> Result<Self, Unsaid> {
        Ok(Self { tokens: tokens(source)?, next: 0 })
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        self.next += usize::from(found);
        found
    }

    fn need(&mut self, sign: &str) -> Result<(), Unsaid> {
        if self.take(sign) { Ok(()) } else { Err(self.unsaid()) }
    }

    fn end(&self) -> Result<(), Unsaid> {
        if self.peek().is_none() { Ok(()) } else { Err(self.unsaid()) }
    }

    /// Why what stands here has no equivalent.
    fn unsaid(&self) -> Unsaid {
        match self.peek() {
            None => Unsaid::Syntax("something is missing at its end"),
            Some(Token::Sign("||")) => Unsaid::Or,
            Some(_) => Unsaid::Computed,
        }
    }

    fn all_of(&mut self, depth: usize) -> Result<Vec<Condition>, Unsaid> {
        let mut all = self.one(depth)?;
        while self.take("&&") {
            all.extend(self.one(depth)?);
        }
        Ok(all)
    }

    fn one(&mut self, depth: usize) -> Result<Vec<Condition>, Unsaid> {
        if depth > MAX_DEPTH {
            return Err(Unsaid::Syntax("it is nested too deeply"));
        }
        if self.take("!") {
            let mut inner = self.one(depth + 1)?;
            return match &mut inner[..] {
                [condition] => {
                    condition.negated = !condition.negated;
                    Ok(inner)
                }
                _ => Err(Unsaid::NegatedAnd),
            };
        }
        if self.take("(") {
            let inner = self.all_of(depth + 1)?;
            self.need(")")?;
            return Ok(inner);
        }
        self.comparison().map(|condition| vec![condition])
    }

    fn comparison(&mut self) -> Result<Condition, Unsaid> {
        let left = self.operand()?;
        if let Operand::Asked(place, test) = left {
            return Ok(Condition { place, test, negated: false });
        }
        let negated = match self.peek() {
            Some(Token::Sign("==")) => false,
            Some(Token::Sign("!=")) => true,
            Some(Token::Name(name)) if name == "in" => {
                self.next += 1;
                return self.within(left);
            }
            _ => return Err(self.unsaid()),
        };
        self.next += 1;
        let (place, text) = match (left, self.operand()?) {
            (Operand::Entry(place), Operand::Text(text)) | (Operand::Text(text), Operand::Entry(place)) => {
                (place, text)
            }
            _ => return Err(Unsaid::Operands),
        };
        Ok(Condition { place, test: Test::Is(vec![exact(text)?]), negated })
    }

    /// What follows `in`: a list of texts.
    fn within(&mut self, left: Operand) -> Result<Condition, Unsaid> {
        let Operand::Entry(place) = left else { return Err(Unsaid::Computed) };
        self.need("[")?;
        let mut values = Vec::new();
        while !self.take("]") {
            let Operand::Text(text) = self.operand()? else { return Err(Unsaid::Operands) };
            values.push(exact(text)?);
            if !self.take(",") {
                self.need("]")?;
                break;
            }
        }
        Ok(Condition { place, test: Test::Is(values), negated: false })
    }

    fn operand(&mut self) -> Result<Operand, Unsaid> {
        let token = self.peek().cloned().ok_or_else(|| self.unsaid())?;
        self.next += 1;
        match token {
            Token::Text(text) => Ok(Operand::Text(text)),
            Token::Name(name) if name == "descriptors" => self.entry(),
            Token::Name(name) if name == "limit" => Err(Unsaid::AboutLimit),
            // Calls, and the words that mean something by themselves.
            Token::Name(name)
                if matches!(self.peek(), Some(Token::Sign("("))) || matches!(&*name, "true" | "false" | "null") =>
            {
                Err(Unsaid::Computed)
            }
            Token::Name(name) => Err(Unsaid::Unbound(name)),
            Token::Number(_) | Token::Sign(_) => Err(Unsaid::Computed),
        }
    }

    /// What follows `descriptors`: `[0].key`, `[0]['key']`, and perhaps a method.
    fn entry(&mut self) -> Result<Operand, Unsaid> {
        self.need("[")?;
        let Some(Token::Number(number)) = self.peek().cloned() else { return Err(self.unsaid()) };
        let descriptor = number.parse().map_err(|_| Unsaid::Syntax("no request has so many descriptors"))?;
        self.next += 1;
        self.need("]")?;
        let key = if self.take("[") {
            let Some(Token::Text(key)) = self.peek().cloned() else { return Err(self.unsaid()) };
            self.next += 1;
            self.need("]")?;
            key
        } else {
            self.need(".")?;
            self.name()?
        };
        if key.is_empty() || key.contains('*') {
            return Err(Unsaid::Key);
        }
        let place = Place { descriptor, key };
        if !self.take(".") {
            return Ok(Operand::Entry(place));
        }
        let method = self.name()?;
        self.need("(")?;
        let Some(Token::Text(text)) = self.peek().cloned() else { return Err(self.unsaid()) };
        self.next += 1;
        self.need(")")?;
        let literal = |text: &str| if text.contains('*') { Err(Unsaid::Star) } else { Ok(()) };
        let test = match &*method {
            "startsWith" => literal(&text).map(|()| Test::like(&format!("{text}*"))),
            "endsWith" => literal(&text).map(|()| Test::like(&format!("*{text}"))),
            "contains" => literal(&text).map(|()| Test::like(&format!("*{text}*"))),
            "matches" => regex(&text),
            _ => Err(Unsaid::Computed),
        }?;
        Ok(Operand::Asked(place, test))
    }

    fn name(&mut self) -> Result<String, Unsaid> {
        let Some(Token::Name(name)) = self.peek().cloned() else { return Err(self.unsaid()) };
        self.next += 1;
        Ok(name)
    }
}

/// A value that a rule can name.
fn exact(text: String) -> Result<String, Unsaid> {
    if text.is_empty() {
        Err(Unsaid::EmptyValue)
    } else if text.contains('*') {
        Err(Unsaid::Star)
    } else {
        Ok(text)
    }
}

/// A regular expression of plain characters, `.*`, and `^` and `$` at the ends. Without these it may match anywhere.
fn regex(source: &str) -> Result<Test, Unsaid> {
    let (anchored, mut rest) = match source.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, source),
    };
    let mut glob = if anchored { String::new() } else { "*".to_owned() };
    let mut open = true;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        let literal = match character {
            '.' if rest.starts_with('*') => {
                rest = &rest[1..];
                glob.push('*');
                continue;
            }
            '$' if rest.is_empty() => {
                open = false;
                break;
            }
            '\\' => match rest.chars().next().filter(|escaped| escaped.is_ascii_punctuation()) {
                Some(escaped) => {
                    rest = &rest[1..];
                    escaped
                }
                None => return Err(Unsaid::Regex),
            },
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => {
                return Err(Unsaid::Regex);
            }
            literal => literal,
        };
        if literal == '*' {
            return Err(Unsaid::Star);
        }
        // What follows a character may repeat it.
        if rest.starts_with(['*', '+', '?', '{']) {
            return Err(Unsaid::Regex);
        }
        glob.push(literal);
    }
    if open {
        glob.push('*');
    }
    if glob.contains('*') { Ok(Test::Like(Glob::new(&glob))) } else { exact(glob).map(|value| Test::Is(vec![value])) }
}

fn tokens(source: &str) -> Result<Vec<Token>, Unsaid> {
    let mut tokens = Vec::new();
    let mut rest = source.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = if let Some((text, after)) = text(rest)? {
            (Token::Text(text), after)
        } else if first.is_ascii_alphabetic() || first == '_' {
            let (name, after) = split(rest, |c| c.is_ascii_alphanumeric() || c == '_');
            (Token::Name(name.to_owned()), after)
        } else if first.is_ascii_digit() {
            let (number, after) = split(rest, |c| c.is_ascii_digit());
            (Token::Number(number.to_owned()), after)
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            (Token::Sign(sign), &rest[sign.len()..])
        } else {
            return Err(Unsaid::Computed);
        };
        tokens.push(token);
        rest = after.trim_start();
    }
    Ok(tokens)
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// A text in quotation marks of either kind, perhaps raw (`r'...'`), and what follows it.
fn text(source: &str) -> Result<Option<(String, &str)>, Unsaid> {
    let (raw, body) = match source.strip_prefix(['r', 'R']) {
        Some(body) if body.starts_with(['"', '\'']) => (true, body),
        _ => (false, source),
    };
    let Some(quote) = body.chars().next().filter(|c| matches!(c, '"' | '\'')) else { return Ok(None) };
    let thrice: String = std::iter::repeat_n(quote, 3).collect();
    if body.starts_with(&thrice) {
        return Err(Unsaid::Syntax("texts over several lines are not read; write it in one"));
    }
    let mut text = String::new();
    let mut characters = body.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            character if character == quote => return Ok(Some((text, &body[at + 1..]))),
            '\\' if !raw => match characters.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, 'r')) => text.push('\r'),
                Some((_, escaped @ ('\\' | '"' | '\'' | '`' | '?'))) => text.push(escaped),
                _ => return Err(Unsaid::Syntax("a '\\' is followed by \\, n, r, t or a quotation mark here")),
            },
            character => text.push(character),
        }
    }
    Err(Unsaid::Syntax("a quotation mark opens a text that is never closed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str) -> Place {
        Place { descriptor: 0, key: key.to_owned() }
    }

    fn is(key: &str, values: &[&str]) -> Condition {
        let test = Test::Is(values.iter().map(|&value| value.to_owned()).collect());
        Condition { place: entry(key), test, negated: false }
    }

    fn like(key: &str, glob: &str) -> Condition {
        Condition { place: entry(key), test: Test::like(glob), negated: false }
    }

    fn not(condition: Condition) -> Condition {
        Condition { negated: !condition.negated, ..condition }
    }

    #[test]
    fn what_rules_can_say_is_read() {
        let cases = [
            ("descriptors[0].method == 'GET'", vec![is("method", &["GET"])]),
            ("descriptors[0]['req.method'] == \"GET\"", vec![is("req.method", &["GET"])]),
            ("'GET'==descriptors[ 0 ] . method", vec![is("method", &["GET"])]),
            ("descriptors[0].method != 'GET'", vec![not(is("method", &["GET"]))]),
            ("!(descriptors[0].method == 'GET')", vec![not(is("method", &["GET"]))]),
            ("!!(descriptors[0].method != 'GET')", vec![not(is("method", &["GET"]))]),
            ("descriptors[0].m in ['a', 'b',]", vec![is("m", &["a", "b"])]),
            ("!(descriptors[0].m in ['a'])", vec![not(is("m", &["a"]))]),
            ("descriptors[0].p.startsWith('/v1/')", vec![like("p", "/v1/*")]),
            ("!descriptors[0].p.endsWith('.js')", vec![not(like("p", "*.js"))]),
            ("descriptors[0].p.contains('x')", vec![like("p", "*x*")]),
            ("descriptors[0].p.startsWith('')", vec![like("p", "*")]),
            (r"descriptors[0].p.matches('^/a\\.b.*')", vec![like("p", "/a.b*")]),
            (r"descriptors[0].p.matches(r'^/a\.b$')", vec![is("p", &["/a.b"])]),
            ("descriptors[0].p.matches('a.*b')", vec![like("p", "*a*b*")]),
            (
                "(descriptors[0].a == 'it\\'s' && descriptors[0].b != \"\\\\\")",
                vec![is("a", &["it's"]), not(is("b", &["\\"]))],
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(conditions(text), Ok(expected), "{text}");
        }
        assert_eq!(variable("descriptors[2]['user id']"), Ok(Place { descriptor: 2, key: "user id".to_owned() }));
    }

    #[test]
    fn what_they_cannot_is_named() {
        let cases = [
            ("descriptors[0].a == 'x' || descriptors[0].b == 'y'", Unsaid::Or),
            ("!(descriptors[0].a == 'x' && descriptors[0].b == 'y')", Unsaid::NegatedAnd),
            ("method == GET", Unsaid::Unbound("method".to_owned())),
            ("limit.name == 'x'", Unsaid::AboutLimit),
            ("descriptors[0].a == descriptors[0].b", Unsaid::Operands),
            ("descriptors[0].a == ''", Unsaid::EmptyValue),
            ("descriptors[0].a == 'a*b'", Unsaid::Star),
            ("descriptors[0].a.startsWith('*')", Unsaid::Star),
            (r"descriptors[0].a.matches(r'\*')", Unsaid::Star),
            ("descriptors[0]['a*'] == 'x'", Unsaid::Key),
            ("descriptors[0].a.matches('[0-9]+')", Unsaid::Regex),
            ("descriptors[0].a.matches('ab*')", Unsaid::Regex),
            ("descriptors[0].a.matches('a|b')", Unsaid::Regex),
            (r"descriptors[0].a.matches(r'\d')", Unsaid::Regex),
            ("descriptors[0].a == 'x", Unsaid::Syntax("a quotation mark opens a text that is never closed")),
            ("descriptors[0].a ==", Unsaid::Syntax("something is missing at its end")),
        ];
        for (text, expected) in cases {
            assert_eq!(conditions(text), Err(expected), "{text}");
        }
        for text in [
            "has(descriptors[0].a)",
            "descriptors.exists(d, d.a == 'x')",
            "descriptors[0].a.size() == 3",
            "descriptors[0].a.lowerAscii() == 'x'",
            "int(descriptors[0].a) > 3",
            "descriptors[0].a > 'x'",
            "descriptors[0].a == 'x' ? true : false",
            "'a' in descriptors[0]",
            "descriptors[0].a.b == 'x'",
            "descriptors[0].a + 'x' == 'yx'",
            "true",
        ] {
            assert_eq!(conditions(text), Err(Unsaid::Computed), "{text}");
        }
        for text in ["descriptors[0].a + 'x'", "int(descriptors[0].a)", "descriptors[0].a.startsWith('x')", "'x'"] {
            assert_eq!(variable(text), Err(Unsaid::Computed), "{text}");
        }
        assert_eq!(variable("user_id"), Err(Unsaid::Unbound("user_id".to_owned())));
        let deep = format!("{}descriptors[0].a == 'x'", "!".repeat(10_000));
        assert_eq!(conditions(&deep), Err(Unsaid::Syntax("it is nested too deeply")));
    }
}
