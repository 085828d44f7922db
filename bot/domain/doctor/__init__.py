"""What is wrong with this set-up: facts in, one line for each finding out; nothing is asked here.

    facts -> `bot.domain.doctor.diagnosis.diagnose` -> findings, each with its remedy

A fact that could not be had is `Unknown` with the reason. It becomes a finding of its own and
stops no other: unknown is neither no nor yes.
"""
