"""Proofs about who sees whom, for every length: what `attnc prove` says.

pairs        an attend -> its pairs, in sequences without padding
asking       a question -> proved, refuted with a counterexample that was checked, or unknown
worlds       what a predicate is where lengths, tokens and inputs are given
order        causal, look-back, look-ahead
rows         no empty row
relations    symmetry, inclusion and equality of masks
counting     how many pairs at a length, exactly
repetition   how many at every length, in closed form
cuts         the same where a number from outside cuts the tokens in two
holders      the same where tokens hold flags or labels
facts        all of these for every attend of a spec
"""
