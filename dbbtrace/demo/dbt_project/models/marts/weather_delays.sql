select
    flights.origin,
    weather.visibility_miles < 3 as poor_visibility,
    count(*) as flights,
    avg(flights.departure_delay) as average_delay,
    avg(flights.cancelled::integer) as share_cancelled
from {{ ref("fct_flights") }} as flights
join {{ ref("stg_weather") }} as weather using (origin, time_hour)
group by all
