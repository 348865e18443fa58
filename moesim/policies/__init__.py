"""Policies: everything that techniques change, on six seams, over one cache that owns the accounting.

eviction (who leaves), prefetch (what to bring early), selection (which experts, given the cache), miss (what to do
about an absent expert), placement (what is pinned where), schedule (what waits for what). Policies are pure: standard
library and numpy at most; they see a read-only `View` and never the engine.
"""
