"""Which iterations of an untrained curve its table keeps: every one would be thousands of rows (Fig. 1).

    t <= DENSE    every iteration
    t > DENSE     iterations 1 % apart, the last one, and, in both meanings of the NMSE, the first one below every whole
                  dB, so that "the first t below -35 dB" is exact in the table

`theory.iterate` thins by this rule, and `claims.measures` reads the first iteration below a level by it.
"""

DENSE = 50
