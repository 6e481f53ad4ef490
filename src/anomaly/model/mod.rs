//! Models of calm traffic: what is unlike all that was seen, gets a high score.
