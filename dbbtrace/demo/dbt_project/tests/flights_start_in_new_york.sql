select *
from {{ ref("stg_flights") }}
where origin not in ('EWR', 'JFK', 'LGA')
