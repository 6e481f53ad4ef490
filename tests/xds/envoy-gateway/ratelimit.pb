
1Í
Atype.googleapis.com/ratelimit.config.ratelimit.v3.RateLimitConfig‡
default/shop/httpdefault/shop/http¡
:httproute/default/orders/rule/0/match/0/orders_example_com:httproute/default/orders/rule/0/match/0/orders_example_com"
rule-0-match-0":
masked_remote_address	0.0.0.0/0"
remote_addressd"(
rule-2-match-0rule-2-match-0(")
rule-3-match--1rule-3-match--1èº
:httproute/default/search/rule/0/match/0/search_example_com:httproute/default/search/rule/0/match/0/search_example_com"@
rule-0-methodrule-0-method" 
rule-0-pathrule-0-path¿
Atype.googleapis.com/ratelimit.config.ratelimit.v3.RateLimitConfigz
default/searchdefault/searchX
default/search/rule/1default/search/rule/1"(
rule-0-match--1rule-0-match--12"Atype.googleapis.com/ratelimit.config.ratelimit.v3.RateLimitConfig*1