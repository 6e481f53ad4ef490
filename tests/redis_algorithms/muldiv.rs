//! The arithmetic beyond 53 bits.

use bytes::Bytes;
use fred::prelude::*;
use tidegate::counters::redis::scripts;

use crate::server::Server;

const MOST: u64 = (1 << 53) - 1;

/// Numbers of all sizes, with a liking for the ends.
fn number(random: &mut fastrand::Rng) -> u64 {
    let near = [0, 1, 2, MOST, MOST - 1, 1 << 52, (1 << 52) - 1, 1 << 26, 3, 10, 1 << 27];
    let bits = random.u32(0..=53);
    if random.u8(..) < 80 { near[random.usize(..near.len())] } else { random.u64(..) & ((1 << bits) - 1) }
}

/// a, b, c and m; some so that m divides the product.
fn case(random: &mut fastrand::Rng) -> [u64; 4] {
    if random.u8(..) < 200 {
        return [number(random), number(random), number(random), number(random).max(1)];
    }
    let (divisor, part) = (random.u64(2..100), random.u64(1 << 40..1 << 46));
    [part * random.u64(1..64), divisor * random.u64(1..1 << 20), random.u64(0..2), part * divisor]
}

#[test]
fn muldiv_is_exact() {
    let server = Server::start();
    let source = format!(
        "{}\nlocal reply = {{}}\nfor i = 1, #ARGV, 4 do\nlocal q, r = muldiv(tonumber(ARGV[i]), tonumber(ARGV[i + 1]), \
         tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]))\nreply[#reply + 1] = q\nreply[#reply + 1] = r\nend\nreturn reply",
        scripts::MULDIV
    );
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..40 {
        let cases: Vec<[u64; 4]> = (0..250).map(|_| case(&mut random)).collect();
        let args: Vec<Bytes> = cases.iter().flatten().map(|number| number.to_string().into()).collect();
        let reply: Vec<u64> = server.block_on(server.client.eval(source.as_str(), Vec::<Bytes>::new(), args)).unwrap();
        for (case, answer) in cases.iter().zip(reply.chunks(2)) {
            let [a, b, c, m] = case.map(u128::from);
            let (quotient, rest) = ((a * b + c) / m, (a * b + c) % m);
            if quotient > u128::from(MOST) {
                assert_eq!(answer[0], MOST, "{case:?}");
            } else {
                assert_eq!([u128::from(answer[0]), u128::from(answer[1])], [quotient, rest], "{case:?}");
            }
        }
    }
}
