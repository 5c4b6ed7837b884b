"""Statistics over seeds, methods and data sets: pure functions of arrays, which refuse rather than guess.

``paired``: one method against another over seeds, Holm's correction, what a number of seeds can detect. ``ranks``: all
methods over several blocks, Friedman's test and Nemenyi's critical difference. ``stability``: how alike the selections
of several runs are. ``agreement``: how alike their rankings are. ``curve``: AUKC. ``association``: how columns of codes
say each other and the label. ``delong``: an AUC by test rows. ``difference``: of two methods over both seeds and test
rows, with what more of either would bring.
"""
