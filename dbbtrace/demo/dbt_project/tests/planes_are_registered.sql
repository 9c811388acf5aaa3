-- Warns on the real data: a good 50,000 flights were flown by planes that the registry doesn't list.
{{ config(severity="warn") }}

select flights.*
from {{ ref("stg_flights") }} as flights
anti join {{ ref("stg_planes") }} as planes using (tailnum)
where flights.tailnum is not null
