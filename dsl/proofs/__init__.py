"""Proofs about who sees whom, for every length: what `attnc prove` says.

pairs        an attend -> its pairs, in sequences without padding
asking       a question -> proved, refuted with a counterexample that was checked, or unknown
worlds       what a predicate is where lengths, tokens and inputs are given
order        causal, look-back, look-ahead
rows         no empty row
relations    symmetry, inclusion and equality of masks
counting     how many pairs: closed forms, and exact numbers at a length
facts        all of these for every attend of a spec
"""
