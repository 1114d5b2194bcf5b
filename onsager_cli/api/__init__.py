"""The Python API: problems, networks, training, recovery, figures and claims, for notebooks and programs.

Names are the options of the command line (`onsager list`), and keyword arguments are keys of the config, so
`problem("kappa15", snr_db=30)` is `problem=kappa15 problem.snr_db=30`. Samples are columns: x (N, L), y (M, L).
A mistake raises `UserError`, whose message is one line. Arrays are in the user's units, whatever coordinates networks
see (`problems.frame`). Plugins add kinds by entry points, a law of the signals by `onsager.signals` (docs/own.md).

`callback` receives the events of a training, one dictionary each. `event` names it, and every event of one curve has
its name in `curve`. Losses are NMSEs in dB; more keys may follow.

| event      | when                                | keys                                                       |
|------------|-------------------------------------|------------------------------------------------------------|
| curve      | a curve begins or resumes           | index, of, work, resumed_from                              |
| stage      | a stage of its plan begins          | stage, index, of, steps, depth, rate, work                 |
| compiling  | a program is compiled, for seconds  | stage                                                      |
| started    | steps of a stage begin, or resume   | stage, step, compiling_seconds                             |
| step       | steps were taken                    | stage, step                                                |
| eval       | the selection set was looked at     | stage, step, nmse_db, best_db, seconds                     |
| bootstrap  | an untied network met its tied twin | stage, own_db, tied_db, taken                              |
| point      | a depth is done, on the test set    | layer, nmse_db, nmse_db_se, steps, seconds                 |
| attainable | a curve is compared with what is attainable | message, attainable_db                             |
| warning    | something a user should know        | message                                                    |
| curve_done | the curve is done                   | seconds, shared (true if it was stored already)            |
| curve_given_up | it diverged, or its process died |                                                            |
| figure     | an experiment begins                | name, curves, needs, work, jobs, expected                  |
"""
